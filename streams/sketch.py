"""Sketches that need no reference: what a pane keeps of a feature while the reference is still being learned.

Numeric values fall into buckets fixed by sign, exponent and the seven leading bits of the mantissa (1 % wide at most). Texts are
kept exactly while few, and beyond `TEXTS` as a bottom-k sample by hash. Counts merge by addition, in any order, to the same bits; sums of
values to within rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

TEXTS = 200
_SHIFT = 45  # of 52 mantissa bits, 7 stay
_FLIP = np.int64(0x7FFF_FFFF_FFFF_FFFF)


def bucket_of(values: Float64) -> Int64:
    """The bucket of each finite value; buckets ascend with the values.

    Notes
    -----
    Formula: `bits(value) >> 45`: sign, exponent and the seven leading bits of the mantissa, in the order of the values.
    Range: whole numbers; a bucket is at most `2**-7` of its values wide, so quantiles of a sketch are within 0.8 % of a value.
    Small n: of each value by itself: exact counts at any size.

    References
    ----------
    Buckets of a constant relative width, as in DDSketch (Masson, Rim and Lee, VLDB 2019), without a logarithm.

    Examples
    --------
    >>> (bucket_of(np.array([1.0, 1.001, 1.01, 2.0])) - bucket_of(np.array([1.0]))).tolist()  # 128 buckets from 1 to 2
    [0, 0, 1, 128]
    """
    bits = (values + 0.0).view(np.int64)  # + 0.0 makes -0.0 zero
    return np.where(bits < 0, bits ^ _FLIP, bits) >> _SHIFT


def bucket_start(buckets: Int64) -> Float64:
    """The smallest value of each bucket: every value of the bucket is in `[bucket_start(b), bucket_start(b + 1))`.

    >>> float(bucket_start(bucket_of(np.array([3.0])))[0])
    3.0
    """
    keys = buckets.astype(np.int64) << _SHIFT
    return np.where(keys < 0, keys ^ _FLIP, keys).view(np.float64)


@lru_cache(maxsize=65_536)
def _rank(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def add_texts(counts: dict[str, int], more: Iterable[tuple[str, int]], limit: int = TEXTS) -> None:
    """Add counts of texts in place, keeping the `limit` texts of smallest hash.

    A text that stays was never out; which texts stay depends on their set alone.

    Notes
    -----
    Formula: `smallest(limit, hash(text))`: a bottom-k sample of the set of texts.
    Range: [1, inf) for counts; at most `limit` texts.
    Small n: exact while there are no more than `limit` texts; beyond, the counts of those kept still are.

    References
    ----------
    Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007.

    Examples
    --------
    >>> a = {}; add_texts(a, [("x", 2), ("y", 1), ("x", 1)]); a
    {'x': 3, 'y': 1}
    """
    for text, n in more:
        counts[text] = counts.get(text, 0) + n
    if len(counts) > limit:
        for text in sorted(counts, key=lambda t: (_rank(t), t))[limit:]:
            del counts[text]


class Sketch(msgspec.Struct):
    """One feature in one pane: `buckets[i]` rows `counts[i]`, ascending; `texts`; rows `missing` and of an unusable type.

    `total` and `squares` are the sums of the numeric values and of their squares. `sketch_of` makes one.

    Notes
    -----
    Formula: `counts + counts'`, `total + total'`, `squares + squares'`, `min` and `max`: merging is adding.
    Range: counts in [0, inf).
    Small n: exact at any size, but for the texts beyond `TEXTS`; sums to within rounding.

    References
    ----------
    As `bucket_of` and `add_texts`.

    Examples
    --------
    >>> pane = sketch_of(np.array([1.0, 1.001]), ["n/a"], missing=2, type_errors=0)
    >>> pane.add(sketch_of(np.array([1.0]), [], missing=0, type_errors=0))
    >>> pane.numeric_rows, pane.counts, pane.texts, pane.maximum
    (3, [3], {'n/a': 1}, 1.001)
    """

    buckets: list[int] = []
    counts: list[int] = []
    texts: dict[str, int] = {}
    text_rows: int = 0
    missing: int = 0
    type_errors: int = 0
    total: float = 0.0
    squares: float = 0.0
    minimum: float | None = None
    maximum: float | None = None

    @property
    def numeric_rows(self) -> int:
        return sum(self.counts)

    def add(self, other: Sketch) -> None:
        """Merge `other` into this one."""
        if other.counts:
            self._add_buckets(np.array(other.buckets, np.int64), np.array(other.counts, np.int64))
        add_texts(self.texts, other.texts.items())
        self.text_rows += other.text_rows
        self.missing += other.missing
        self.type_errors += other.type_errors
        self.total += other.total
        self.squares += other.squares
        self.minimum = _least(self.minimum, other.minimum)
        self.maximum = _greatest(self.maximum, other.maximum)

    def _add_buckets(self, buckets: Int64, counts: Int64) -> None:
        keys, inverse = np.unique(np.concatenate([np.array(self.buckets, np.int64), buckets]), return_inverse=True)
        sums = np.zeros(len(keys), np.int64)
        np.add.at(sums, inverse, np.concatenate([np.array(self.counts, np.int64), counts]))
        self.buckets, self.counts = keys.tolist(), sums.tolist()


def sketch_of(numbers: Float64, texts: Sequence[str], missing: int, type_errors: int) -> Sketch:
    """The sketch of a batch: its finite numbers, its texts, and how many rows had neither."""
    sketch = Sketch(text_rows=len(texts), missing=missing, type_errors=type_errors)
    add_texts(sketch.texts, ((text, 1) for text in texts))
    if len(numbers):
        buckets, counts = np.unique(bucket_of(numbers), return_counts=True)
        sketch.buckets, sketch.counts = buckets.tolist(), counts.tolist()
        with np.errstate(over="ignore", invalid="ignore"):
            sketch.total, sketch.squares = float(numbers.sum()), float(np.square(numbers).sum())
        sketch.minimum, sketch.maximum = float(numbers.min()), float(numbers.max())
    return sketch


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)


def _greatest(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)
