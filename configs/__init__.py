"""The settings of a run: what there is, how they are put together, and where the run lives."""
