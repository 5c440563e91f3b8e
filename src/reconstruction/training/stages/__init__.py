"""A training in stages: each apparatus alone, their average, all together."""
