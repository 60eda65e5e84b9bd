"""Looking through an image set before it is trained on: what is wrong with it, and a cleaned copy."""
