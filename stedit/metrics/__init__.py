"""What a model is worth, in numbers: distortion, identity, edits as the judge sees them, and their report."""
