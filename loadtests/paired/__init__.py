"""Paired measurements of servers: what a request costs one, as a multiple of what it costs another in the same round.

The benchmarks of ``loadtests`` are made of this; docs/performance.md says how it measures.
"""
