"""Training of a generator: StyleGAN2, jointly with an encoder, or on codes that are fixed."""
