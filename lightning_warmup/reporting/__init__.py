"""Figures and table of one run."""
