"""The life of a run: checkpoints, signals, loggers, provenance."""
