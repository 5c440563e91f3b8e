"""What is not learned: the Cramér–Rao bound, spectral peaks, matched filter, maximum likelihood, seeded likelihood."""
