"""The settings that `make run` gives to the app. What the user set himself stays as he set it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

PREFIX = "GANTRY_"


def given_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the user set, by variable name in capitals, from every place that ``app.core.config`` reads.

    Those are variables in any case, a whole group as JSON (``GANTRY_SERVER='{"port": 8080}'``), and the files of
    ``GANTRY_SECRETS_DIR``.
    """
    given: dict[str, str] = {}
    folder = environment.get("GANTRY_SECRETS_DIR")
    if folder and Path(folder).is_dir():
        given |= {path.name.upper(): path.read_text().strip() for path in Path(folder).iterdir() if path.is_file()}
    given |= {name.upper(): value for name, value in environment.items()}
    given = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    for name, value in list(given.items()):
        if "__" not in name:
            for key, part in _group(value).items():
                given.setdefault(f"{name}__{key.upper()}", str(part))
    return given


def _group(value: str) -> dict[str, object]:
    try:
        content = json.loads(value)
    except ValueError:
        return {}  # no group but a plain value, or one that the app will complain about
    return content if isinstance(content, dict) else {}


def fill_in(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The defaults that the user did not set himself."""
    return {name: value for name, value in defaults.items() if name not in given}
