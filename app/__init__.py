"""Gantry: a production platform for a Python API on Kubernetes."""

__version__ = "0.1.0"
