"""Benchmarks: ``python -m tests.bench`` prints the table of docs/PERFORMANCE.md, ``--quick`` runs each case once, for correctness."""
