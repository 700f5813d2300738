"""How much a model file may make of its bytes, so that a small file cannot fill memory or time.

What a file holds itself is not counted, however large: weights are read as they are. Counted is what is made besides: signals,
tables of indices, repeated or multiplied matrices, folded constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from distverify.errors import ModelError

# Networks of hundreds of layers have some thousands of nodes.
MAX_NODES = 12_000
_VALUES = 2**26


@dataclass
class Budget:
    """Numbers (of eight bytes) that may still be made.

    Parameters
    ----------
    stored : int
        Numbers that the file holds: the more it holds, the more may be made.
    """

    stored: int = 0

    def __post_init__(self) -> None:
        self.values = _VALUES + 4 * self.stored

    def spend(self, values: int, what: str) -> None:
        """Take ``values`` numbers, before they are made.

        Raises
        ------
        ModelError
            There are not so many left.
        """
        self.values -= values
        if self.values < 0:
            raise ModelError(
                f"{what}: it would make {values} more numbers, too many for a file that stores {self.stored}; "
                "the model is damaged, or no network to verify"
            )
