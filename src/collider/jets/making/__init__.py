"""Jets of ten classes as HDF5 files: processes, matching to the truth, impact parameters, substructure."""
