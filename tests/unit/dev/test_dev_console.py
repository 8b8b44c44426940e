"""What is printed."""

import sys

import pytest

from app.dev.console import complain, say, step


def test_a_step_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with step("start it"):
        pass
    assert capsys.readouterr().out.split() == ["start", "it", "0.0", "s"]


def test_a_failed_step_has_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), step("start it"):
        raise KeyError
    assert capsys.readouterr().out == ""


def test_a_terminal_sees_the_step_while_it_lasts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with step("start it"):
        assert capsys.readouterr().out == "  start it ...\r"
    with step("stop it", preview=False):
        pass
    assert "..." not in capsys.readouterr().out
    with pytest.raises(KeyError), step("start it"):
        raise KeyError
    assert capsys.readouterr().out == "  start it ...\r\n"


def test_a_reader_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", Gone())
    say("anybody?")
    complain("nobody?")
