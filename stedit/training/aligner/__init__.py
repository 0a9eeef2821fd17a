"""`stedit train aligner`."""
