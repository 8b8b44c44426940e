"""The documentation in a real browser: it works, from this origin alone, under its own Content-Security-Policy."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser, NoBrowser, find_programs
from tests.browser.conftest import LiveApi

CREATE_USER = '.opblock-post:has([data-path="/api/v1/users"])'
ELSEWHERE = "http://elsewhere.example/logo.svg"
LOAD_FROM_ELSEWHERE = f"document.body.append(Object.assign(new Image(), {{src: '{ELSEWHERE}'}}))"
READING = ["/docs/guide", "/docs/problems", "/docs/problems/validation-failed"]


def assert_clean(browser: Browser, api: LiveApi) -> None:
    """No error in the console, nothing refused by the policy, no request to anybody else."""
    assert browser.complaints() == []
    requests = browser.requests()
    assert requests
    assert [url for url in requests if not url.startswith(f"{api.url}/")] == []


def authorise(browser: Browser, key: str) -> None:
    """Put the key into Swagger UI's dialogue."""
    browser.click(".btn.authorize")
    browser.find(".auth-container input").send_keys(key)
    browser.click(".auth-container .authorize")
    assert "Authorized" in browser.find(".auth-container").text
    browser.click(".auth-container .btn-done")


def send_user(browser: Browser, email: str) -> None:
    """Fill in the form of ``POST /api/v1/users`` and send it."""
    browser.click(f"{CREATE_USER} .opblock-summary-control")
    body = browser.find(f"{CREATE_USER} textarea.body-param__text")
    body.send_keys(Keys.CONTROL + "a", Keys.DELETE)
    body.send_keys(json.dumps({"name": "Ada Lovelace", "email": email, "age": 36}))
    browser.click(f"{CREATE_USER} .execute")


def test_a_person_authorises_in_swagger_ui_and_creates_a_user(browser: Browser, live_api: LiveApi) -> None:
    email = f"{uuid4().hex}@example.com"
    browser.open(f"{live_api.url}/docs")
    authorise(browser, live_api.key)
    send_user(browser, email)

    answer = browser.find(f"{CREATE_USER} .live-responses-table .response")
    assert answer.find_element("css selector", ".response-col_status").text.split()[0] == "201"
    assert email in answer.text
    # A header that nobody typed is not sent: under one Idempotency-Key for all, the second user would be refused.
    assert "Idempotency-Key" not in browser.find(f"{CREATE_USER} .curl").text
    assert "location: /api/v1/users/" in answer.text
    assert browser.driver.execute_script("return localStorage.length + sessionStorage.length") == 0
    assert_clean(browser, live_api)


def test_swagger_ui_shows_the_problem_of_a_call_without_a_key(browser: Browser, live_api: LiveApi) -> None:
    browser.open(f"{live_api.url}/docs")
    send_user(browser, "ada@example.com")

    answer = browser.find(f"{CREATE_USER} .live-responses-table .response")
    assert answer.find_element("css selector", ".response-col_status").text.split()[0] == "401"
    assert "/docs/problems/unauthorized" in answer.text


def test_redoc_shows_and_finds_the_operations(browser: Browser, live_api: LiveApi) -> None:
    browser.open(f"{live_api.url}/redoc")
    assert "/api/v1/items/export" in browser.find(".redoc-wrap").text
    browser.find('[role="search"] input').send_keys("export")
    assert "export" in browser.find('[data-role="search:results"]').text.lower()
    assert_clean(browser, live_api)


@pytest.mark.parametrize("path", READING)
def test_reading_pages_are_shown_with_their_style(browser: Browser, live_api: LiveApi, path: str) -> None:
    browser.open(f"{live_api.url}{path}")
    assert browser.find("h1").text
    assert browser.find(".prose").value_of_css_property("max-width") != "none"
    assert_clean(browser, live_api)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/guide"])
def test_the_policy_refuses_others_and_the_browser_complains(browser: Browser, live_api: LiveApi, path: str) -> None:
    browser.open(f"{live_api.url}{path}")
    browser.driver.execute_script(LOAD_FROM_ELSEWHERE)
    assert "Content Security Policy" in browser.wait_for(browser.complaints, ELSEWHERE)


def test_the_browser_notes_requests_to_others(browser: Browser) -> None:
    browser.driver.execute_script(LOAD_FROM_ELSEWHERE)
    assert browser.wait_for(browser.requests, ELSEWHERE) == ELSEWHERE


def test_without_a_browser_there_is_advice(tmp_path: Path) -> None:
    with pytest.raises(NoBrowser, match="apt-get install -y chromium chromium-driver"):
        find_programs(str(tmp_path))
