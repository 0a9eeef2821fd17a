"""Edits of W+ codes: by a label (the classifier's gradients) or by a reference code (the edit transformer)."""
