"""A recurrent step over time: fast, in little memory, with a gradient derived from the step itself."""
