"""Random numbers keyed by event, and random changes of inputs drawn with them."""
