"""Results as one self-contained page for people who did not make the run."""
