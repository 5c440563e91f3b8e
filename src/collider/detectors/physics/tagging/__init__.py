"""Large jets tagged by what is in them: substructure, ensembles of boosted trees, how well they do it."""
