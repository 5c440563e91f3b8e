"""What an encoder learns beside the targets or in their place: to denoise, to rebuild the hidden, to draw records."""
