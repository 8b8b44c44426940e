"""Tests, on real components: PostgreSQL, Valkey, gunicorn."""
