"""What became of a sample; the numbers are those of the result file."""

from __future__ import annotations

PENDING, OK, MISCLASSIFIED, FAILED, TIMED_OUT, UNDECIDED = range(6)
STATUS_MEANINGS = ("pending", "ok", "misclassified", "failed", "timed_out", "undecided")
# Of a sample that its worker gave back, for others to help: it never gets into a file.
HANDED_BACK = -1
# With results, and without; undecided: too near a tie to tell in floating point whether it is classified right.
COMPUTED = (OK, MISCLASSIFIED, UNDECIDED)
WITHOUT_VALUE = (FAILED, TIMED_OUT)

# Whether a ball or a property is verified, and by which bounds.
FALSIFIED, NO_VALUE, NOT_VERIFIED, BY_CROWN, BY_JACOBIAN, BY_BRANCHING = range(-2, 4)
VERIFIED_MEANINGS = ("falsified", "no_value", "not_verified", "by_crown", "by_jacobian", "by_branching")
# What people are told of it.
VERDICTS = ("verified", "falsified", "unknown", "no value")

# What a sample's message says before the quantities that failed; all others of the sample are there.
NOT_COMPUTED = "not computed: "


def verdict_of(code: int) -> str:
    """The verdict, of :data:`VERDICTS`, that a code of ``verified`` stands for."""
    if code > 0:
        return VERDICTS[0]
    return {FALSIFIED: VERDICTS[1], NOT_VERIFIED: VERDICTS[2]}.get(code, VERDICTS[3])
