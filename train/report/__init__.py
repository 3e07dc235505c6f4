"""What a run says about itself: metrics, pictures, the model card."""
