"""The renderer of the built-in training pictures."""
