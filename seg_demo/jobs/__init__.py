"""Fine-tuning jobs: the training command in a process of its own, watched from its files; no gradio, no torch."""
