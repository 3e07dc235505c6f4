"""What a stranger sends, turned into clean data."""
