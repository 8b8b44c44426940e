"""What a migration must not do to a database in use: each one is run, statement by statement, and judged.

A package of the tests, not of the application: its parser (pglast) is for development, and under another licence than this project.
docs/migrations.md says how migrations are written; its table of rules is held to `rules.RULES`.
"""
