"""Training of every part: the autoencoder (encoder and generator), the latent classifier, the edit transformer."""
