"""The Hugging Face Hub: looking up, downloading, caching, pushing, and the sandbox for files that strangers wrote."""
