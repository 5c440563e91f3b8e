"""Maximum likelihood: what a fit needs to know of a record, where it begins, how it moves, what it is worth."""
