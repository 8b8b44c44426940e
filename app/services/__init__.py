"""Use cases and their transactions; nothing of HTTP."""
