"""Whole benchmark folders: every line of an instance list, side by side, in one table of results."""
