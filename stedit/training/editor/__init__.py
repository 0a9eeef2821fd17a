"""Training of the edit transformer: on codes alone, or by the pictures of its edits."""
