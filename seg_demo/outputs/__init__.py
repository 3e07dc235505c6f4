"""A segmentation, turned into what people take away."""
