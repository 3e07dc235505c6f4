"""A network at work on one picture: engines, tiles, batches, memory."""
