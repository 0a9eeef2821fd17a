"""From a picture to its code: by an encoder, by descent, and by adapting the generator to it."""
