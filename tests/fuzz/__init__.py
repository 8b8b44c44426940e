"""schemathesis against a running gunicorn: `make fuzz` in full, a short form in the test suite."""
