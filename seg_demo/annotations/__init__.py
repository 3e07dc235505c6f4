"""What people drew on pictures, in whatever format: read, listed, understood, and converted. Start at ``dataset.open_annotated``."""
