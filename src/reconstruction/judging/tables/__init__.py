"""Tables of predictions, and whose they are."""
