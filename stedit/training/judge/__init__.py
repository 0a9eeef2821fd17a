"""Training of the judge, which predicts attributes from images."""
