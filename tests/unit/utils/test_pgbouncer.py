"""pgbouncer's file of users: what is written is read again, by pgbouncer's rules, as what it was."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.utils.pgbouncer import MAX_NAME, MAX_PASSWORD, NotForPgbouncer, auth_file

line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=30)
passwords = line.filter(lambda value: not value.startswith(("md5", "SCRAM-SHA-256$")))


def read(content: bytes) -> dict[str, str]:
    """As pgbouncer reads it: each line a quoted name, a space, a quoted password; two quotes in one are one."""
    users = {}
    for text in content.decode().removesuffix("\n").split("\n"):
        values, rest = [], text
        while rest:
            assert rest[0] == '"'
            value, at = "", 1
            while rest[at : at + 2] == '""' or rest[at] != '"':
                step = 2 if rest[at] == '"' else 1
                value += rest[at]
                at += step
            values.append(value)
            rest = rest[at + 1 :].removeprefix(" ")
        name, users_password = values
        users[name] = users_password
    return users


@given(st.dictionaries(line, passwords, min_size=1, max_size=3))
@example({'"': '""', 'a" "b': ' " ', "\\": "\\'; #%\u2028"})
def test_what_is_written_is_read_again(users: dict[str, str]) -> None:
    assert read(auth_file(users)) == users


def test_the_form_is_the_documented_one() -> None:
    assert auth_file({"api": 'a"b', "old": "c d"}) == b'"api" "a""b"\n"old" "c d"\n'


def test_octets_that_are_no_text_are_kept() -> None:
    assert auth_file({"api": "\udcff"}) == b'"api" "\xff"\n'


@pytest.mark.parametrize("length", [1, MAX_NAME])
def test_names_of_this_length_are_taken(length: int) -> None:
    assert read(auth_file({"n" * length: "p" * MAX_PASSWORD})) == {"n" * length: "p" * MAX_PASSWORD}


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("", "p", "a name must not be empty"),
        ("n", "", "a password must not be empty"),
        ("n\n", "p", "a name must be one line, without NUL"),
        ("n", "p\rq", "a password must be one line, without NUL"),
        ("n", "p\0q", "a password must be one line, without NUL"),
        ("\u00e9" * 64, "p", "a name of 128 bytes is too long; pgbouncer takes 127"),
        ("n", "p" * 2048, "a password of 2048 bytes is too long; pgbouncer takes 2047"),
        ("n", "md5" + "0a" * 16, "a password that begins like a hashed one"),
        ("n", "SCRAM-SHA-256$4096:x", "a password that begins like a hashed one"),
    ],
)
def test_what_can_not_stand_there_is_refused_without_repeating_it(name: str, password: str, said: str) -> None:
    with pytest.raises(NotForPgbouncer) as caught:
        auth_file({name: password})
    assert str(caught.value).startswith(said)
