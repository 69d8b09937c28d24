"""Lightning callbacks: stages before the first epoch, monitors, and the report of a run."""
