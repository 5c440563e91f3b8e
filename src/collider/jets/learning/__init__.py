"""Jets for the shared core: files, batches, views, what is learned, and what is judged."""
