"""What became of a sample; the numbers are those of the result file."""

from __future__ import annotations

PENDING, OK, MISCLASSIFIED, FAILED, TIMED_OUT = range(5)
STATUS_MEANINGS = ("pending", "ok", "misclassified", "failed", "timed_out")
