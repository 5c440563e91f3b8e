"""Events of the search: signal at every mass point, three backgrounds, weights and folds, in files with a manifest"""
