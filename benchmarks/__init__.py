"""Speed and memory of this project, measured where it runs: ``python -m benchmarks``."""
