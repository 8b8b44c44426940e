"""The README's tour, for the tests that run it: its commands, what is shown under each, and what a server answered."""

import re
import subprocess
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
VOLATILE = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z": "<time>",
    r'"instance":"[0-9a-f]{32}"': '"instance":"<id>"',
    r'"trace_id":"[0-9a-f]{32}"': '"trace_id":"<id>"',
    r'"key_id":\d+': '"key_id":<id>',
    r";r=\d+;t=\d+": ";r=<n>;t=<n>",
}


def blocks() -> list[tuple[str, str]]:
    """The tour's commands, each with the output shown under it."""
    tour = README.read_text().partition("## A tour")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", tour, re.DOTALL)


def pages() -> list[str]:
    """The paths of the documentation that the README leads to."""
    return re.findall(r"http://127\.0\.0\.1:8000(/docs[a-z/]*)", README.read_text())


def stable(text: str) -> list[str]:
    """Lines without what differs from run to run; names of headers in lower case, as proxies write them in their own way."""
    for pattern, name in VOLATILE.items():
        text = re.sub(pattern, name, text)
    lines = (line.rstrip() for line in text.splitlines() if line.strip())
    return [re.sub(r"^[A-Za-z-]+(?=: )", lambda name: name[0].lower(), line) for line in lines]


def assert_shown(shown: list[str], got: list[str]) -> None:
    """Without an ellipsis equal; with one, all the lines shown are there, in any order: it stands for further headers."""
    if "..." in shown:
        assert set(shown) - {"..."} <= set(got), got
        assert shown[-1] == "..." or shown[-1] == got[-1]
    else:
        assert got == shown


def take_the_tour(api: str, key: str) -> None:
    """Run it word for word, but for its first block, which says where the API is and what the key is."""
    first, *steps = blocks()
    assert len(steps) >= 9
    assert "make -s key" in first[0]
    script = [f"API={api}", f'KEY="X-API-Key: {key}"']
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
