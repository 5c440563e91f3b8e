"""Rows of files: batches, order, splits, reading ahead."""
