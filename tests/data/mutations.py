"""Files that were damaged, or made by somebody who means harm: valid ones with bytes and words changed."""

from __future__ import annotations

import random

# Bytes and words that readers look for, beside random ones.
TOKENS = (
    b"(", b")", b"and", b"or", b"assert", b"<=", b"X_0", b"Y_99999999", b"1e999", b"-", b"\0", b"\n", b",", b";", b"\t", b'"',
    b"nan", b"\xff\xfe", b"9" * 30, b"(declare-const X_0 Real)", b"\x89HDF", b"PK\x03\x04", b"{'descr': '<f8'", b".onnx", b"v1,",
)  # fmt: skip


def mutated(content: bytes, generator: random.Random) -> bytes:
    """``content`` with one to four changes: bytes replaced, removed, repeated, inserted, cut off."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data) + 1)
        length = min(generator.choice((1, 1, 2, 8, 64)), len(data) - at)
        kind = generator.randrange(6)
        if kind == 0:
            data[at : at + length] = generator.randbytes(length)
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length] * generator.choice((1, 2, 50))
        elif kind == 3:
            data[at:at] = generator.choice(TOKENS)
        elif kind == 4 and generator.random() < 0.3:
            del data[at:]
        elif length:
            data[at] ^= 1 << generator.randrange(8)
    return bytes(data)
