"""What a model does, in numbers: distortion, identity, edits as the judge predicts them, and their report."""
