"""Exact sums of floats in compiled code. Its twin is in `exact.exact_sums`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, as_bits, entry, float64, int64, set_int64

FRACTION, HIDDEN, WORD = np.uint64((1 << 52) - 1), np.uint64(1 << 52), np.uint64(0xFFFFFFFF)


@entry(types.void(*[types.int64] * 6))
def add_words(values: int, signs: int, n: int, units: int, words: int, step: int) -> None:
    """Add `n` floats, each times its sign, to words of 32 bits of a number of units of 2^-`units`. `step`: 0 where one sign is for all."""
    for k in range(n):
        bits = as_bits(float64(values, k))
        exponent: Any = np.int64((bits >> np.uint64(52)) & np.uint64(2047))
        whole = bits & FRACTION
        if exponent:
            whole |= HIDDEN
        else:
            exponent = 1
        if whole == np.uint64(0):
            continue
        sign = int64(signs, k * step)
        if bits >> np.uint64(63):
            sign = -sign
        place = exponent - 1075 + units
        word, bit = place >> 5, np.uint64(place & 31)
        low, high = (whole & WORD) << bit, (whole >> np.uint64(32)) << bit
        set_int64(words, word, int64(words, word) + sign * np.int64(low & WORD))
        middle = np.int64((low >> np.uint64(32)) + (high & WORD))
        set_int64(words, word + 1, int64(words, word + 1) + sign * middle)
        set_int64(words, word + 2, int64(words, word + 2) + sign * np.int64(high >> np.uint64(32)))


def words_of(table: NDArray[np.float64], signs: NDArray[np.int64], units: int, words: int) -> NDArray[np.int64]:
    """The words of each row's sum; `signs` has shape (n,) or ()."""
    step, table, signs = int(signs.ndim > 0), np.ascontiguousarray(table), np.ascontiguousarray(signs)
    found = np.zeros((len(table), words), np.int64)
    for row, into in zip(table, found, strict=True):
        add_words(address(row), address(signs), len(row), units, address(into), step)
    return found
