"""Measures of where the states of a recurrent network go."""
