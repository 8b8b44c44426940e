"""Load and benchmarks: what is measured, and the means to measure it again."""
