"""Energies of jets learned from the tracks and clusters in them: rows, what is seen of each, the network's units."""
