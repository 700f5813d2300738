"""Ways to bound pre-activations, one a file; :mod:`distverify.bounds.layers.table` has them by name."""
