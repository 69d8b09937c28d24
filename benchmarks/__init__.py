"""Measures speed and memory on this machine: ``python -m benchmarks``."""
