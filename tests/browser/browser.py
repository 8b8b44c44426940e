"""A headless Chromium that notes what a page asks for and complains about."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable, visibility_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
DRIVER = "chromedriver"
ADVICE = (
    f"These tests need Chromium and {DRIVER} of the same version on PATH. "
    "Debian, Ubuntu: apt-get install -y chromium chromium-driver. Fedora: dnf install chromium chromedriver. "
    "macOS: brew install --cask chromium chromedriver."
)
PATIENCE = 15.0
"""Seconds to wait for an element."""

FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1600",
    # There is no internet for this browser: only the API's own address is reachable.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class NoBrowser(Exception):
    """There is none here; the message says how to get one."""


def find_programs(path: str | None = None) -> tuple[str, str]:
    """Chromium and its driver on ``path`` (by default ``PATH``). Raises ``NoBrowser``."""
    browser = next((found for name in NAMES if (found := shutil.which(name, path=path))), None)
    driver = shutil.which(DRIVER, path=path)
    if browser is None or driver is None:
        raise NoBrowser(ADVICE)
    return browser, driver


class Browser:
    """One Chromium with a fresh profile in ``folder``. Raises ``NoBrowser``."""

    def __init__(self, folder: Path) -> None:
        binary, driver = find_programs()
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium's sandbox refuses root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options, Service(driver))
        self.driver.get("about:blank")

    def close(self) -> None:
        """End the browser and its driver."""
        self.driver.quit()

    def open(self, url: str) -> None:
        """Go to a page; what was logged before is forgotten."""
        self.driver.get("about:blank")
        self.complaints()
        self.requests()
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        """The first visible element, waited for."""
        return self._wait.until(visibility_of_element_located((By.CSS_SELECTOR, css)), f"no visible {css}")

    def click(self, css: str) -> None:
        """Click the first element, once it takes clicks."""
        self._wait.until(element_to_be_clickable((By.CSS_SELECTOR, css)), f"no clickable {css}").click()

    def complaints(self) -> list[str]:
        """Everything in the console since the last look: errors, and what the Content-Security-Policy refused."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium's

    def requests(self) -> list[str]:
        """The addresses of all requests since the last look that would leave the browser."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]  # selenium's
        events = [json.loads(entry["message"])["message"] for entry in entries]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")]

    def wait_for(self, look: Callable[[], list[str]], part: str) -> str:
        """The first entry of ``complaints`` or ``requests`` that contains ``part``, waited for."""
        return self._wait.until(lambda _: next((e for e in look() if part in e), ""), f"nothing with {part}")

    @property
    def _wait(self) -> "WebDriverWait[Chrome]":
        return WebDriverWait(self.driver, PATIENCE)
