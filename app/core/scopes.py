"""What an API key may do: a closed list without wildcards, so that no old key gains a new ability by accident."""

from enum import StrEnum


class Scope(StrEnum):
    """One ability of a key, written ``<resource>:<ability>``."""

    users_read = "users:read"
    users_write = "users:write"
    items_read = "items:read"
    items_write = "items:write"
    notifications_send = "notifications:send"
    notifications_read = "notifications:read"
    notifications_admin = "notifications:admin"
    keys_admin = "keys:admin"
