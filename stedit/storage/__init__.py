"""What lies on disk: bundles, latent codes, tunings, labels; written whole or not at all, and checked when read."""
