"""Fixtures for tests in a real browser; without one they fail, and say how to get one."""

from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.browser.browser import Browser, NoBrowser


class LiveApi(Protocol):
    """What these tests need of the ``live_api`` fixture: an API that listens, and a key with every scope."""

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        ...

    @property
    def key(self) -> str:
        """For ``X-API-Key``."""
        ...


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the run."""
    try:
        browser = Browser(tmp_path_factory.mktemp("chromium"))
    except NoBrowser as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser, on an empty page."""
    chromium.open("about:blank")
    return chromium
