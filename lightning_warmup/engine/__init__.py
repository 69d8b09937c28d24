"""Runs a recurrent step over time, fast and in little memory; the gradient is derived from the step."""
