"""A photograph and the face in it."""
