"""What trainings learn from: images, latent codes, and edits whose result is known."""
