"""Completion of a model: the classifier and the editor of any StyleGAN2, from its own samples and what labels them."""
