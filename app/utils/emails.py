"""How e-mail addresses are compared: without regard to case, and whatever the database's locale."""

import unicodedata


def email_key(address: str) -> str:
    """The form of an address under which it is unique. Takes an address that email-validator normalised; idempotent.

    The local part is compared by canonical caseless matching (Unicode 3.13, D145): decomposed, case-folded in full,
    composed. RFC 5321 §2.4 lets a host tell cases apart, but none that matters does, and two users who differ by case
    alone are one user. NFKC is not used: RFC 6532 §3.1 warns that it loses information. Folding in full means that
    ``straße`` and ``STRASSE`` are the same.

    The domain is only lowered, not folded: email-validator has mapped it by UTS #46 already, after which
    ``faß.example`` and ``fass.example`` are different domains.
    """
    local, at, domain = address.rpartition("@")
    folded = unicodedata.normalize("NFD", local).casefold()
    return unicodedata.normalize("NFC", folded) + at + domain.lower()
