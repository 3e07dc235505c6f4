"""Everything that reaches into gradio or stands before it."""
