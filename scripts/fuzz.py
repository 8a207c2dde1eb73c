"""Look for input that the decoders mishandle, led by the coverage of their code: `make fuzz`, SECONDS=60 by default.

    python scripts/fuzz.py CORPUS [options of libFuzzer]

Each input is judged as a prediction and as an outcome. It must come out as an event or a `Rejected` with a known code, without an
exception, without a number that is not finite, and in time that grows with its length. What fails is written to a file, and
`python scripts/fuzz.py FILE` runs it again. Needs `pip install 'driftline[fuzz]'`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["driftline.schemas"]):
    from driftline.schemas.errors import DEAD_LETTER_CODES, Rejected
    from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction, parse_time

from driftline.story import story

SLOW_S = 0.5  # for an input of any length that libFuzzer makes; the usual one takes microseconds
SEEDS = [b"", b"null", b"\0\0\0\0\x07{}", b'{"specversion":"1.0"}', b'{"id":"a","features":{"x":[1,null,"b",true,{}]}}', b"[" * 40]


def numbers(value: Any) -> Iterator[float]:
    """Every number in an event."""
    if isinstance(value, float):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from numbers(part)


def judge(event: Prediction | Outcome | Rejected) -> None:
    """Raise where the decoder's answer is none."""
    if isinstance(event, Rejected):
        assert event.code in DEAD_LETTER_CODES, event
        assert 0 < len(event.message) <= 1_000, event
        return
    fields = [getattr(event, name) for name in event.__struct_fields__]
    assert all(math.isfinite(number) for number in numbers(fields)), event
    if isinstance(event, Prediction):
        assert event.score is None or 0 <= event.score <= 1, event
    moment = parse_time(event.ts)
    assert isinstance(moment, int | Rejected), event


def once(data: bytes) -> None:
    """One input through both decoders, with and without a word on unknown fields: the answer must be the same."""
    begin = time.perf_counter()
    for decode in (decode_prediction, decode_outcome):
        plain, told = decode(data), decode(data, lambda _: None)
        judge(plain)
        assert repr(plain) == repr(told), (plain, told)
    assert time.perf_counter() - begin < SLOW_S, "too slow for its length"


def main() -> None:
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if corpus and not corpus.is_file():
        corpus.mkdir(parents=True, exist_ok=True)
        events = story(7, "full", 400).events()
        for i, value in enumerate([*SEEDS, *(event.value for _, event in zip(range(40), events, strict=False))]):
            (corpus / f"seed-{i}").write_bytes(value)
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
