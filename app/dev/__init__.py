"""The development runner: `make run` starts the real thing on a machine that has only Python (see ``runner``)."""
