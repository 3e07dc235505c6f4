"""Models for many visitors: the catalogue, loading, limits, the predictor."""
