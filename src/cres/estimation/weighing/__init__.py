"""Samples of a proposed posterior, weighed with the exact forward model: their lines, likelihood, importance."""
