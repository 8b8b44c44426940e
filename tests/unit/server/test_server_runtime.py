"""The private folder: made, cleaned up after, and left alone while somebody lives. In processes of their own, since it is per process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.server import runtime

SETTINGS = """
import os, sys, time
from pathlib import Path
from pydantic import SecretStr
from app.core.config import DatabaseSettings, SecuritySettings, ServerSettings, Settings
from app.core.server.runtime import prepare_runtime
secret = SecretStr("x" * 32)
settings = Settings(
    database=DatabaseSettings(url=SecretStr("postgresql://host/name")),
    security=SecuritySettings(key_peppers=(secret,), cursor_keys=(secret,)),
    server=ServerSettings(runtime_dir=Path(sys.argv[1])),
)
"""


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    """Run code that knows ``settings``; what it prints can be read."""
    command = [sys.executable, "-c", SETTINGS + code, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, code: str) -> str:
    """Run it to its end."""
    with start(folder, code) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.strip()


def test_made_and_removed(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
folder = prepare_runtime(settings)
assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
assert folder.is_dir() and not list(folder.glob("*.db"))
assert folder.stat().st_mode & 0o777 == 0o700
assert folder.name.startswith(f"gantry-serve-{os.getpid()}-")
(folder / "counter_1.db").touch()
if os.fork() == 0:
    sys.exit(0)  # a child's end removes nothing
os.wait()
assert folder.is_dir()
from prometheus_client import Counter
Counter("test", "Test.").inc()
print(sorted(file.name.rsplit("_", 1)[0] for file in folder.glob("*.db")))
""",
    )
    assert out == "['counter', 'counter']"
    assert list(tmp_path.iterdir()) == []


def test_too_late(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
import prometheus_client
try:
    prepare_runtime(settings)
except RuntimeError as error:
    print(error)
""",
    )
    assert "before prometheus_client is imported" in out
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_removed_and_folders_in_use_are_not(tmp_path: Path) -> None:
    wait = "print(prepare_runtime(settings), flush=True)\nsys.stdin.read()"
    with start(tmp_path, wait) as alive, start(tmp_path, wait) as killed:
        assert alive.stdout is not None
        assert killed.stdout is not None
        in_use, leftover = Path(alive.stdout.readline().strip()), Path(killed.stdout.readline().strip())
        killed.kill()
        killed.wait()
        assert leftover.is_dir()
        (leftover / "counter_1.db").touch()
        others = [tmp_path / name for name in ("gantry-serve-file", "gantry-serve-link", "gantry-serve-other", "other")]
        others[0].touch()
        others[1].symlink_to(in_use)
        others[2].mkdir()
        others[3].mkdir()
        run(tmp_path, "prepare_runtime(settings)")
        assert sorted(tmp_path.iterdir()) == sorted([in_use, *others])
        alive.communicate(timeout=30)
    assert not in_use.exists()


def test_a_folder_stays_in_use_while_a_child_lives(tmp_path: Path) -> None:
    parent = """
folder = prepare_runtime(settings)
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(folder, flush=True)
os._exit(0)
"""
    with start(tmp_path, parent) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        process.wait()
        run(tmp_path, "prepare_runtime(settings)")
        assert folder.is_dir()
        process.communicate(timeout=30)  # ends the child
    run(tmp_path, "prepare_runtime(settings)")
    assert not folder.exists()


def test_folders_of_other_users_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gantry-serve-1-other"
    folder.mkdir()
    (folder / runtime.MARKER).touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
        runtime._remove_if_unused(folder)
    assert folder.is_dir()
    runtime._remove_if_unused(folder)
    assert not folder.exists()
