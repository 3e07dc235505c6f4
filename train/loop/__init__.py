"""The training loop: batches, losses, optimizer, state that survives."""
