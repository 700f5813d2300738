"""Storage: shards as the journal of a run, one HDF5 file for the user, and its reader."""
