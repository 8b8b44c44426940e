"""Reading the settings of a process, and saying in one line each what is wrong with them."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from app.core.config import ENVIRONMENT_PREFIX, Settings, variable_name


class SettingsInvalid(Exception):
    """The settings can't be used. ``messages`` has one readable line for each thing that is wrong, without any value."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


LIST_FORM = """a list is written as JSON, such as '["a", "b"]'"""
GROUP_FORM = "a whole group is written as a JSON object; or set its members one by one"
NOT_SETTINGS = frozenset({"GANTRY_SECRETS_DIR", "GANTRY_PG_BIN", "GANTRY_VALKEY_BIN", "GANTRY_REVISION"})
"""Variables of the prefix that are no settings: where secret files are, which server binaries ``make run`` takes, and which
commit the image was built from."""


def _message(error: Mapping[str, Any]) -> str:
    location = error["loc"]
    text = str(error["msg"]).removeprefix("Value error, ")
    if not location:
        return text
    name = variable_name(location)
    match error["type"]:
        case "missing" if len(location) == 1:
            required = [f"{name}__{n.upper()}" for n in _required_fields(str(location[0]))]
            return f"{', '.join(required)}: required, but not set"
        case "missing":
            return f"{name}: required, but not set"
        case "tuple_type" | "model_type":
            return f"{name}: {LIST_FORM}"
        case "extra_forbidden":
            return f"{name}: there is no such setting; see the table in README.md"
    return f"{name}: {text[0].lower()}{text[1:]}"


def _required_fields(group: str) -> list[str]:
    fields: Mapping[str, FieldInfo] = getattr(Settings.model_fields[group].annotation, "model_fields", {})
    return [name for name, field in fields.items() if field.is_required()]


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises ``SettingsInvalid`` with a line for each wrong, missing or unknown one; no message repeats a value.
    """
    groups = tuple(f"{ENVIRONMENT_PREFIX}{name}".upper() for name in Settings.model_fields)
    unknown = [
        f"{name}: there is no such setting; see the table in README.md"
        for name in sorted(os.environ)
        if name.startswith(ENVIRONMENT_PREFIX)
        and name not in NOT_SETTINGS
        and name.upper() not in groups
        and not name.upper().startswith(tuple(f"{group}__" for group in groups))
    ]
    directory = os.environ.get("GANTRY_SECRETS_DIR")
    if directory and not Path(directory).is_dir():
        raise SettingsInvalid(["GANTRY_SECRETS_DIR: there is no such folder"])
    unreadable = _not_json(Path(directory) if directory else None)
    messages = unknown + [f"{name}: {form}" for name, form in unreadable.items()]
    with _without(unreadable):  # or they would hide what else is wrong
        try:
            settings = Settings(_secrets_dir=directory)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            missing = [e for e in found if not (e["type"] == "missing" and variable_name(e["loc"]) in unreadable)]
            messages += [_message(e) for e in missing]
        except SettingsError:  # a file that is no JSON can't be passed by
            pass
    if messages:
        raise SettingsInvalid(messages)
    return settings


@contextmanager
def _without(names: Iterable[str]) -> Iterator[None]:
    """The environment without these variables, for the length of the block."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.upper() in set(names)}
    try:
        yield
    finally:
        os.environ.update(taken)


def _not_json(directory: Path | None) -> dict[str, str]:
    """Which variables and files are no JSON although a list or a group needs it: pydantic-settings names the group alone."""
    raw = {name.upper(): value for name, value in os.environ.items()}
    if directory is not None:
        raw = {file.name.upper(): file.read_text() for file in directory.iterdir() if file.is_file()} | raw
    wrong: dict[str, str] = {}
    for group, field in Settings.model_fields.items():
        members: Mapping[str, FieldInfo] = getattr(field.annotation, "model_fields", {})
        lists = [(group, name) for name, member in members.items() if get_origin(member.annotation) is tuple]
        for location in [(group,), *lists] if members else []:
            name = variable_name(location)
            try:
                json.loads(raw.get(name, "null"))
            except ValueError:
                wrong[name] = LIST_FORM if len(location) > 1 else GROUP_FORM
    return wrong
