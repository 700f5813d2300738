"""Benchmarks: ``python -m tests.bench`` prints the table of the README, ``--quick`` runs each case once, for correctness."""
