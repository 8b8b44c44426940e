"""The README is true: its tour is run word for word, its tables are those of the code, its links lead somewhere."""

import re
from pathlib import Path

import httpx2

from app.dev.reference import GUIDE, OPENAPI, README, guide, openapi, readme, settings_table
from tests.conftest import make_database
from tests.gunicorn import running_api
from tests.tour import pages, take_the_tour


def test_the_tour(worker_id: str, tmp_path: Path) -> None:
    assert len(pages()) >= 3
    with running_api(
        make_database(f"tour_{worker_id}"), tmp_path, LIMITS__DEFAULT="600/minute", SERVER__WORKERS="1"
    ) as api:
        for page in pages():
            assert httpx2.get(api.url + page).status_code == 200, page
        # `make run` is tested on its own; what the first block asks it for is here.
        take_the_tour(f"{api.url}/api/v1", api.key)


def test_what_is_derived_is_current() -> None:
    assert OPENAPI.read_text() == openapi(), "run `make docs`"
    assert README.read_text() == readme(), "run `make docs`"
    assert GUIDE.read_text() == guide(), "run `make docs`"
    assert settings_table().count("|  |") == 0, "a setting has no docstring"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [README, *Path("docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#|/)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
