"""Traps in which the radius moves the carrier: the posterior with the radius integrated out."""
