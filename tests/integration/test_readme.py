"""The README is true: its tour is run word for word, its tables are those of the code, its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import httpx2

from app.dev.reference import GUIDE, OPENAPI, README, guide, openapi, readme, settings_table
from tests.conftest import make_database
from tests.gunicorn import running_api

VOLATILE = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z": "<time>",
    r'"instance":"[0-9a-f]{32}"': '"instance":"<id>"',
    r'"key_id":\d+': '"key_id":<id>',
    r";r=\d+;t=\d+": ";r=<n>;t=<n>",
}


def blocks() -> list[tuple[str, str]]:
    """The tour's commands, each with the output shown under it."""
    tour = README.read_text().partition("## A tour")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", tour, re.DOTALL)


def stable(text: str) -> list[str]:
    for pattern, name in VOLATILE.items():
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def assert_shown(shown: list[str], got: list[str]) -> None:
    """Without an ellipsis equal; with one, all the lines shown are there, in any order: it stands for further headers."""
    if "..." in shown:
        assert set(shown) - {"..."} <= set(got), got
        assert shown[-1] == "..." or shown[-1] == got[-1]
    else:
        assert got == shown


def test_the_tour(worker_id: str, tmp_path: Path) -> None:
    first, *steps = blocks()
    assert len(steps) >= 9
    assert "make -s key" in first[0]
    pages = re.findall(r"http://127\.0\.0\.1:8000(/docs[a-z/]*)", README.read_text())
    assert len(pages) >= 3
    with running_api(
        make_database(f"tour_{worker_id}"), tmp_path, LIMITS__DEFAULT="600/minute", SERVER__WORKERS="1"
    ) as api:
        for page in pages:
            assert httpx2.get(api.url + page).status_code == 200, page
        # `make run` is tested on its own; what the first block asks it for is here.
        script = [f"API={api.url}/api/v1", f'KEY="X-API-Key: {api.key}"']
        for number, (commands, _) in enumerate(steps):
            script += [commands, f'printf "\\n=== {number} ===\\n"']
        done = subprocess.run(["bash", "-eu"], input="\n".join(script), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outputs = re.split(r"\n=== \d+ ===\n", done.stdout)
    for (commands, shown), output in zip(steps, outputs, strict=False):
        try:
            assert_shown(stable(shown), stable(output))
        except AssertionError as error:
            raise AssertionError(f"{commands}\nprinted\n{output}") from error


def test_what_is_derived_is_current() -> None:
    assert OPENAPI.read_text() == openapi(), "run `make docs`"
    assert README.read_text() == readme(), "run `make docs`"
    assert GUIDE.read_text() == guide(), "run `make docs`"
    assert settings_table().count("|  |") == 0, "a setting has no docstring"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [README, *Path("docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#|/)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
