"""Version 1 of the API."""

BASE = "/api/v1"
"""Where it is."""
