"""Training of the edit transformer: on codes alone, or by the images of its edits."""
