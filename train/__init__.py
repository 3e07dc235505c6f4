"""Fine-tuning: files → dataset → batch → checkpoint → Hub. Imports seg_demo; seg_demo never imports this."""
