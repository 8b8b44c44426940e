"""gunicorn's and uvicorn's log lines, by way of the root logger: the app has set up how lines look."""

import logging
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # gunicorn has no type hints


class RootLogger(Logger):  # type: ignore[misc]  # untyped base
    """gunicorn's logger without handlers of its own."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn at start and on reload; ``errorlog`` and ``accesslog`` are ``None`` in our configuration."""
        super().setup(cfg)
        self.adopt("gunicorn.error")

    def adopt(self, name: str) -> None:
        """Let a logger's lines go to the root logger's handlers, from the root logger's level on, whatever that will be."""
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
