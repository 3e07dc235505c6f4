"""Training data: what :mod:`seg_demo.annotations` reads, the built-in data, the doctor and the split."""
