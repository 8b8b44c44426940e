"""Text helpers: prefixes as ranges, and cells that a spreadsheet does not run."""

import re
from typing import Final

_FIRST_SURROGATE: Final = 0xD800
_AFTER_SURROGATES: Final = 0xE000
_LAST: Final = 0x10FFFF

_FORMULA: Final = re.compile(
    r"[\s\0\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*+[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n\0]"
)
r"""What a spreadsheet may run: ``= + - @`` or their full-width forms, behind any white space, NUL or invisible
characters; and, as OWASP and ASVS 5.0 §1.2.10 list them, a tab, a line break or NUL at the start whatever follows."""


def prefix_upper_bound(prefix: str) -> str | None:
    """The least string that is greater than every string beginning with ``prefix``; none when no string is.

    In the order of code points, which is PostgreSQL's ``COLLATE "C"`` in a UTF-8 database. ``prefix`` has no lone
    surrogates, and neither has the result. So ``name >= prefix AND name < bound`` is what ``LIKE 'prefix%'`` means,
    with nothing to escape.
    """
    kept = prefix.rstrip(chr(_LAST))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(_AFTER_SURROGATES if following == _FIRST_SURROGATE else following)


def escape_formula(cell: str) -> str:
    """The cell's text, with ``'`` in front if a spreadsheet could take it for a formula (OWASP, CSV Injection;
    CWE-1236).

    White space in front does not disarm a formula: several programs strip it while importing. Negative numbers get
    the ``'`` too, so give this only text. It looks at the start of the cell alone: quoting separators and quotes is
    the CSV writer's part (RFC 4180), and a reader that splits at another separator than the writer's is beyond it.
    """
    return "'" + cell if _FORMULA.match(cell) else cell
