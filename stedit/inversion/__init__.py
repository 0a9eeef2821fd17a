"""From an image to its latent code: by an encoder, by optimisation, and by tuning the generator to it."""
