"""What a model does, in numbers: distortion, identity, edits as the judge sees them, and their report."""
