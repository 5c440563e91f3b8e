"""Events for the shared core: samples in files, batches, what a network sees, balance over masses and classes."""
