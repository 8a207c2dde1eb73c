"""Champion and challenger: two versions' answers to the same ids, compared over label time, revisable like everything else. Pure.

    panes of label time ──► tallies of both versions ──► in order ──► a confidence sequence ──► better, worse, undecided

Each tally counts the ids whose label came then: how many both versions predicted, and which of the two alone was right (of numbers:
nearer). The interval may be looked at after every window, for ever, and is still wrong with a chance of 5 % at most.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Literal, NamedTuple

import msgspec

from driftline.schemas.config import Model, policy_hash
from driftline.schemas.errors import refuse_newer
from driftline.schemas.results import ComparisonResult
from driftline.streams.answers import Answers
from driftline.streams.stats import PairedState, PairedTest

Verdict = Literal["better", "worse", "undecided"]

CODEC: Final = 1
TEST: Final = PairedTest()
OTHER_WAY: Final[Mapping[Verdict, Verdict]] = {"better": "worse", "worse": "better", "undecided": "undecided"}
_PARTS: Final = re.compile(r"(\d*)(\D*)")


class Tally(NamedTuple):
    """One pane of label time: ids that both versions answered, those that the second alone got right, and the first alone.

    `revision` is that of the panes it was counted from.
    """

    start: int
    n: int
    second: int
    first: int
    revision: int


class Standing(NamedTuple):
    """How two versions stand after a pane: the state of the test, counts since the beginning, and their revision."""

    state: PairedState = PairedState()
    second: int = 0
    first: int = 0
    revision: int = 0

    def after(self, tally: Tally) -> Standing:
        """One more pane."""
        total = tally.second - tally.first
        squares = tally.second + tally.first - total * total / tally.n if tally.n else 0.0
        state = TEST.update(self.state, (tally.n, float(total), squares))
        return Standing(state, self.second + tally.second, self.first + tally.first, self.revision + tally.revision)


START: Final = Standing()


class _State(msgspec.Struct, array_like=True):
    """The base as it is written down."""

    since: int
    state: PairedState
    second: int
    first: int
    revision: int


@dataclass
class Contest:
    """`base`: the standing after all panes that start before `since`; `steps`: pane by pane from there on."""

    base: Standing = START
    since: int = -(2**62)
    steps: list[tuple[int, Standing]] = field(default_factory=list)
    unfinal: set[int] = field(default_factory=set)  # windows told, and to be told once more when final

    def read(self, tallies: Iterable[Tally], changed_from: int) -> list[int]:
        """Read the closed panes that start at `changed_from` or later again, in order; the starts of those that were read."""
        keep = bisect_left(self.steps, changed_from, key=itemgetter(0))
        read = {start for start, _ in self.steps[keep:]}
        del self.steps[keep:]
        standing = self.steps[-1][1] if self.steps else self.base
        for tally in tallies:
            if tally.start >= max(changed_from, self.since):
                standing = standing.after(tally)
                self.steps.append((tally.start, standing))
                read.add(tally.start)
        return sorted(read)

    def at(self, end: int) -> Standing:
        """How the two stood before this moment."""
        upto = bisect_left(self.steps, end, key=itemgetter(0))
        return self.steps[upto - 1][1] if upto else self.base

    def settle(self, before: int) -> None:
        """Move the base up to the panes that start at `before` or later: no revision can come for those before."""
        self.base = self.at(before)
        del self.steps[: bisect_left(self.steps, before, key=itemgetter(0))]
        self.since = max(self.since, before)

    def to_bytes(self) -> bytes:
        """A version byte, then MessagePack; the steps are read again after a crash."""
        return bytes([CODEC]) + msgspec.msgpack.encode(_State(self.since, *self.base))

    @classmethod
    def from_bytes(cls, data: bytes) -> Contest:
        """The inverse; refuses what a newer release wrote.

        >>> Contest.from_bytes(Contest(since=60_000).to_bytes()).since
        60000
        """
        refuse_newer("a comparison of versions", data[0], CODEC)
        it = msgspec.msgpack.decode(data[1:], type=_State)
        return cls(Standing(it.state, it.second, it.first, it.revision), it.since)


def tally_of(start: int, first: Answers, second: Answers, pair: tuple[str, str], revision: int) -> Tally:
    """What both versions' panes of one time know of each other: each knows the ids that the other had answered before it."""
    n, first_alone, second_alone = first.rivals.get(pair[1], [0, 0, 0])
    m, second_too, first_too = second.rivals.get(pair[0], [0, 0, 0])
    return Tally(start, n + m, second_alone + second_too, first_alone + first_too, revision)


def comparison_row(model: Model, pair: tuple[str, str], standing: Standing, start: int, end: int, *, is_final: bool) -> ComparisonResult:
    """The row of one window. The champion is the version that the model's file names, else the one that comes first by name."""
    found, alone = TEST.compare(standing.state), (standing.second, standing.first)
    value, lower, upper = found.value, found.lower, found.upper
    champion, challenger = roles(pair, model.champion)
    verdict = found.verdict
    if challenger == pair[0]:
        value, lower, upper, alone = -value, -upper, -lower, (standing.first, standing.second)
        verdict = OTHER_WAY[verdict]
    return ComparisonResult(
        model.model, champion, challenger, start, end, verdict, None if math.isnan(value) else value, max(lower, -1.0), min(upper, 1.0),
        found.n, *alone, policy_hash(model), is_final, standing.revision,
    )  # fmt: skip


def roles(pair: tuple[str, str], champion: str = "") -> tuple[str, str]:
    """Which of two versions is the champion, and which challenges it. Numbers in names count as numbers.

    >>> roles(("10", "9")), roles(("10", "9"), "10")
    (('9', '10'), ('10', '9'))
    """

    def rank(name: str) -> tuple[bool, list[tuple[int, str, str]]]:
        return name != champion, [(len(digits), digits, rest) for digits, rest in _PARTS.findall(name)]

    first, second = sorted(pair, key=rank)
    return first, second
