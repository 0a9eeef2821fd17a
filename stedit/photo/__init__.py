"""Photographs: the face found in one, and an edit carried over to it."""
