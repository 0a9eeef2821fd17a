"""A model in memory: its networks, the device and precision that they compute in, and what goes in and comes out."""
