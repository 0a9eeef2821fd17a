"""Training of the latent classifier."""
