"""Sums of floats without any rounding, so that what is added in any order and taken out again leaves nothing behind. Pure.

Every finite float is a whole number of units of 2^-1152, so a sum is a Python integer: it merges by `+`, and a label of 1e12 that is
corrected gives back every digit of the others. Plain floating point would keep sixteen digits of the largest.

    float = mantissa · 2^exponent        the mantissa's 53 bits, shifted into place, fall into at most three words:

    … │ word w + 2 │ word w + 1 │ word w │ …      32 bits each; words are added up by NumPy, carried once at the end
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams import kernels

UNIT_BITS = 1_152
_WORD, _MASK = 32, np.int64(2**32 - 1)
_WORDS = (UNIT_BITS + 1_024) // _WORD + 3


def exact_sums(values: ArrayLike, sign: ArrayLike = 1) -> list[int]:
    """Each row's sum of `sign * value`, in units of 2^-1152.

    Parameters
    ----------
    values
        Finite floats, shape (k, n) with n below 2^29.
    sign
        +1 or -1 (or another small whole number) for each column, shape (n,).

    Examples
    --------
    >>> exact = exact_sums([[1e300, 0.1, -1e300]])
    >>> to_float(exact[0]), sum([1e300, 0.1, -1e300])
    (0.1, 0.0)
    """
    table, signs = np.atleast_2d(np.asarray(values, np.float64)), np.asarray(sign, np.int64)
    reader = kernels.current()
    words = reader.words_of(table, signs, UNIT_BITS, _WORDS) if reader else _words_of(table, signs)
    return [sum(part << (_WORD * i) for i, part in enumerate(each) if part) for each in words.tolist()]


def _words_of(table: NDArray[np.float64], signs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row's sum in words, the lowest first; shape (k, _WORDS)."""
    mantissa, exponent = np.frexp(table)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    word, bit = np.divmod(exponent.astype(np.int64) - 53 + UNIT_BITS, _WORD)
    times = np.sign(whole) * signs
    whole = np.abs(whole)
    low, high = (whole & _MASK) << bit, (whole >> _WORD) << bit
    words = np.zeros((len(table), _WORDS), np.int64)
    row = np.broadcast_to(np.arange(len(table))[:, None], table.shape)
    np.add.at(words, (row, word), times * (low & _MASK))
    np.add.at(words, (row, word + 1), times * ((low >> _WORD) + (high & _MASK)))
    np.add.at(words, (row, word + 2), times * (high >> _WORD))
    return words


def to_float(total: int) -> float:
    """The float nearest to a sum; infinite where no float is that large.

    >>> to_float(exact_sums([[0.1] * 10])[0]), sum([0.1] * 10)
    (1.0, 0.9999999999999999)
    """
    try:
        return total / (1 << UNIT_BITS)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def to_bytes(total: int) -> bytes:
    """A sum as it is stored, `from_bytes` gives it back.

    >>> from_bytes(to_bytes(-(5 << 1_200))) == -(5 << 1_200)
    True
    """
    return total.to_bytes((total.bit_length() + 8) // 8, "little", signed=True) if total else b"\0"


def from_bytes(data: bytes) -> int:
    """The inverse of `to_bytes`."""
    return int.from_bytes(data, "little", signed=True)


_ZERO = to_bytes(0)


def sums_of(packed: Sequence[Sequence[bytes]], n: int) -> list[int]:
    """The sums of several lists of `n` sums as they are stored; a list may be empty, for zeros.

    >>> sums_of([[to_bytes(1), to_bytes(0)], [to_bytes(3), to_bytes(4)], []], 2)
    [4, 4]
    """
    out = [0] * n
    for each in packed:
        for i, data in enumerate(each):
            if data != _ZERO:
                out[i] += int.from_bytes(data, "little", signed=True)
    return out
