"""The settings of a run, how the command line composes them, and the folder of the run."""
