"""The demo in the browser: one file per tab, the API, and the viewer. The only importer of gradio."""
