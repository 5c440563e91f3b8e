"""From pickles to batches: safe reading, preparation to HDF5, records, splits, loaders."""
