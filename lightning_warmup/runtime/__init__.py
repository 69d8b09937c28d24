"""How a run lives and dies: checkpoints, signals, loggers, provenance."""
