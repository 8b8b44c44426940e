"""Signals of a process: what it counts (``metrics``), its spans (``tracing``), and which request is at work (``current``).

``catalogue`` says what each metric means; docs/observability.md is written from it. Logs are in ``app.core.logging``.
"""
