"""LightningModules: one for sequences, one for control."""
