"""Showers for the shared core: files, batches, views, what is learned, and the bound beside it."""
