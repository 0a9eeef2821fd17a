"""Training of the judge, which sees attributes in pictures."""
