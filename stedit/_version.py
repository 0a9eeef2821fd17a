"""The version, by itself: whatever records it in a file need not import the package's public face."""

__version__ = "0.1.0"
