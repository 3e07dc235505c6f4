"""From what networks return to masks at the size of the upload."""
