"""Which model, from where, and kept how: the menu, the Hub, loading, and the bounded cache of loaded models."""
