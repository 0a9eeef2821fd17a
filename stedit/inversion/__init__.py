"""From a picture to its code: in one pass, in several, by descent on the code, and by adapting the generator to it."""
