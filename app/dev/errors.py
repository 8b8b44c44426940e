"""What `make run` says when it can't go on."""


class DevelopmentError(Exception):
    """``make run`` (or ``make key``, ``make clean``) can't do what was asked.

    The message is for the person at the terminal: what is wrong, and what to do.
    """


class StopRequested(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal, noticed while something was awaited. Not an error."""
