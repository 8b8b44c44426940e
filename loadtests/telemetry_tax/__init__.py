"""What telemetry costs a request: everything on beside everything off, each signal alone, and a collector that is lost.

``python -m loadtests.telemetry_tax`` measures; docs/performance.md says how, and what came out.
"""
