"""Photos and annotations in, a built set of equal square images out."""
