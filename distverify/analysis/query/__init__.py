"""Deciding VNN-LIB queries: models bound to declarations, cases of assertions, exact and floating-point search, witnesses."""
