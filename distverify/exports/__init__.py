"""Results in the files of other programs."""
