"""Features that are texts or vectors, as columns of numbers that are binned and judged like any other. Pure.

    title = "text"             title.length   title.unknown_words   title.p0 … title.p7
    vector = "embedding:384"   vector.norm                          vector.p0 … vector.p7

What is drawn at random is drawn with one seed, and every figure of a row is made of that row alone, in one order: the same rows give the
same numbers in whatever chunks they come.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.config import FeatureType

Float64 = NDArray[np.float64]

PROJECTIONS = 8  # of a text or a vector
WORDS = 1_000  # of a text, that are looked at
TEXT_BYTES = 10_000  # of a text, that its projections are made of
PLACES = 1 << 16  # that all words of a vocabulary share: with more than some ten thousand, an unknown one may pass as known
_WORD = re.compile(r"\w+")
_ROWS = 256  # multiplied out at once
_ODD = np.uint64(0x9E37_79B9_7F4A_7C15)
WRONG = True  # stands in a derived column where a value is not of its type: it is no number either


def sources(features: Mapping[str, FeatureType]) -> dict[str, FeatureType]:
    """Those of the features that others are derived from.

    >>> sources({"age": "numeric", "title": "text"})
    {'title': 'text'}
    """
    return {name: kind for name, kind in features.items() if kind not in ("numeric", "categorical")}


def names_of(name: str, kind: FeatureType) -> list[str]:
    """The columns derived from a feature.

    >>> names_of("vector", "embedding:3")[:2], names_of("title", "text")[:2]
    (['vector.norm', 'vector.p0'], ['title.length', 'title.unknown_words'])
    """
    first = ["length", "unknown_words"] if kind == "text" else ["norm"]
    return [f"{name}.{part}" for part in (*first, *(f"p{i}" for i in range(PROJECTIONS)))]


def expanded(features: Mapping[str, FeatureType]) -> dict[str, FeatureType]:
    """The features with derived ones in place of their sources."""
    out: dict[str, FeatureType] = {}
    for name, kind in features.items():
        out |= {name: kind} if kind in ("numeric", "categorical") else dict.fromkeys(names_of(name, kind), "numeric")
    return out


def derive(
    columns: Mapping[str, Sequence[Any]], features: Mapping[str, FeatureType], vocabularies: Mapping[str, bytes]
) -> dict[str, Sequence[Any]]:
    """Columns with derived ones in place of their sources: numbers, None where a value is missing, `WRONG` where it is of another type.

    Without a vocabulary (of a reference that is still being learned) there is no `unknown_words`.

    >>> made = derive({"title": ["So long", None, 7], "age": [1, 2, 3]}, {"title": "text", "age": "numeric"}, {})
    >>> made["title.length"], made["age"], "title.unknown_words" in made
    ([7, None, True], [1, 2, 3], False)
    """
    kinds = sources(features)
    out: dict[str, Sequence[Any]] = {name: column for name, column in columns.items() if name not in kinds}
    for name, kind in kinds.items():
        if name not in columns:
            continue
        if kind == "text":
            rows = [_of_text(value, vocabularies.get(name)) for value in columns[name]]
        else:
            rows = _of_vectors(columns[name], int(kind.partition(":")[2]))
        made = list(zip(*rows, strict=True)) or [()] * len(names_of(name, kind))
        out |= {each: list(column) for each, column in zip(names_of(name, kind), made, strict=True)}
        if kind == "text" and name not in vocabularies:
            del out[f"{name}.unknown_words"]
    return out


def vocabulary(texts: Iterable[Any]) -> bytes:
    """The words of texts: a bit at the place of each.

    >>> known = vocabulary(["So long, and thanks"])
    >>> derive({"t": ["thanks for all", ""]}, {"t": "text"}, {"t": known})["t.unknown_words"]
    [0.6666666666666666, None]
    """
    bits = np.zeros(PLACES, np.uint8)
    for text in texts:
        if isinstance(text, str):
            bits[_places(text)] = 1
    return np.packbits(bits).tobytes()


def _places(text: str) -> list[int]:
    return [zlib.crc32(word.encode()) % PLACES for word in _WORD.findall(text.lower())[:WORDS]]


def _of_text(value: Any, known: bytes | None) -> list[Any]:
    """Length in characters; share of the words that the vocabulary lacks; projections."""
    if not isinstance(value, str):
        return [None if value is None else WRONG] * (2 + PROJECTIONS)
    places = _places(value) if known else []
    unknown = [place for place in places if not known or not known[place >> 3] >> (7 - (place & 7)) & 1]
    return [len(value), len(unknown) / len(places) if places else None, *_projected(value)]


def _projected(text: str) -> list[float]:
    """Counts of its runs of three bytes, each at one of eight places and with a sign by its hash, over the root of how many there are."""
    data = np.frombuffer(f" {text.lower()} ".encode()[:TEXT_BYTES].ljust(3), np.uint8).astype(np.uint64)
    runs = data[:-2] | data[1:-1] << np.uint64(8) | data[2:] << np.uint64(16)
    with np.errstate(over="ignore"):
        hashed = (runs * _ODD >> np.uint64(60)).astype(np.int64)
    sums = np.bincount(hashed >> 1, 2.0 * (hashed & 1) - 1, PROJECTIONS)
    return [float(each) for each in sums / math.sqrt(len(runs))]


@lru_cache(maxsize=64)
def directions(dim: int) -> Float64:
    """Random ones, shape (dim, PROJECTIONS); the projection of a vector of independent numbers spreads like one of them."""
    return np.asarray(np.random.RandomState(0).standard_normal((dim, PROJECTIONS)) / math.sqrt(dim))  # whose numbers no release changes


def _of_vectors(values: Sequence[Any], dim: int) -> list[list[Any]]:
    """Norm and projections of each vector."""
    rows: list[list[Any]] = [[None if value is None else WRONG] * (1 + PROJECTIONS) for value in values]
    good = [i for i, value in enumerate(values) if _is_vector(value, dim)]
    for begin in range(0, len(good), _ROWS):
        part = good[begin : begin + _ROWS]
        vectors = np.array([values[i] for i in part], np.float64)
        with np.errstate(over="ignore"):
            # Not a matrix product, whose last digits depend on how many rows it has.
            told = np.einsum("nd,dk->nk", vectors, directions(dim), optimize=False)
            norms = np.sqrt(np.square(vectors).sum(1))
        for i, norm, projections in zip(part, norms.tolist(), told.tolist(), strict=True):
            finite = math.isfinite(norm) and all(map(math.isfinite, projections))
            rows[i] = [norm, *projections] if finite else rows[i]
    return rows


def _is_vector(value: Any, dim: int) -> bool:
    numbers = isinstance(value, list | tuple | np.ndarray) and len(value) == dim
    return numbers and all(isinstance(each, int | float | np.floating) and not isinstance(each, bool) and each == each for each in value)  # noqa: PLR0124
