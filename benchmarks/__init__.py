"""What the speed and the memory of this project are, measured where it runs: ``python -m benchmarks``."""
