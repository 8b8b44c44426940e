"""``python -m app.dev``."""

from pathlib import Path

import pytest

from app.dev import __main__ as entry
from app.dev import commands
from app.dev.runner import Options


@pytest.mark.parametrize(
    ("arguments", "called", "expected"),
    [
        ([], "run", Options(entry.CHECKOUT / ".dev")),
        (["run", "--port", "1", "--admin-port=2", "--state=/s"], "run", Options(Path("/s"), 1, 2)),
        (["run", "--trace-console"], "run", Options(entry.CHECKOUT / ".dev", trace_console=True)),
        (["key"], "create_key", Options(entry.CHECKOUT / ".dev")),
        (["clean"], "clean", Options(entry.CHECKOUT / ".dev")),
    ],
)
def test_each_command_gets_its_options(
    arguments: list[str], called: str, expected: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Options] = []

    def record(options: Options) -> int:
        given.append(options)
        return 7

    monkeypatch.setattr(commands, called, record)
    assert entry.main(arguments) == 7
    assert given == [expected]
    assert (entry.CHECKOUT / "pyproject.toml").exists()


def test_what_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        entry.main(["walk"])
    assert "invalid choice" in capsys.readouterr().err
