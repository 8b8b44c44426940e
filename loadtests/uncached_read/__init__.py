"""What an uncached ``GET /items/{id}`` costs, beside the same read written the common way.

``python -m loadtests.uncached_read`` measures; docs/performance.md says how, and what came out.
"""
