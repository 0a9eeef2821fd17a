"""Training of an encoder for a generator that stays as it is."""
