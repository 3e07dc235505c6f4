"""Training data: every source yields `Sample` objects (see sample.py)."""
