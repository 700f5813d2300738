"""VNN-LIB property files: their text, their constraints, and the cases in which a counterexample may lie."""
