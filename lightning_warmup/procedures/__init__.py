"""What is done to a recurrent network before, or beside, its training."""
