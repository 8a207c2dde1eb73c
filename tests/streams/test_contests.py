"""Champion and challenger: who is which, what is read again, what a new owner begins with."""

from __future__ import annotations

import pytest

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.streams.answers import Answers
from driftline.streams.contests import Contest, Tally, comparison_row, roles, tally_of

PAIR = ("1", "2")


def tallies(many: int, second: int = 12, first: int = 5) -> list[Tally]:
    return [Tally(60_000 * i, 100, second, first, 10) for i in range(many)]


def read(many: int, **more: int) -> Contest:
    contest = Contest()
    contest.read(tallies(many, **more), 0)
    return contest


def test_a_version_that_is_right_where_the_champion_is_not_is_better() -> None:
    row = comparison_row(Model("m"), PAIR, read(30).at(10**9), 0, 60_000, is_final=True)
    assert (row.champion, row.challenger, row.verdict) == ("1", "2", "better")
    assert (row.n, row.challenger_alone, row.champion_alone) == (3_000, 360, 150)
    assert row.value == pytest.approx(0.07)
    assert row.lower is not None
    assert 0 < row.lower < 0.07


def test_the_other_way_round_it_is_worse_by_as_much() -> None:
    standing = read(30).at(10**9)
    one, other = (comparison_row(Model("m", champion=name), PAIR, standing, 0, 60_000, is_final=True) for name in PAIR)
    assert (other.champion, other.challenger, other.verdict, other.value) == ("2", "1", "worse", -(one.value or 0.0))
    assert (other.lower, other.upper) == (-(one.upper or 0.0), -(one.lower or 0.0))


def test_few_ids_are_undecided() -> None:
    assert comparison_row(Model("m"), PAIR, read(1).at(10**9), 0, 60_000, is_final=False).verdict == "undecided"
    assert comparison_row(Model("m"), PAIR, Contest().at(0), 0, 60_000, is_final=False).value is None


def test_numbers_in_names_count_as_numbers() -> None:
    assert roles(("v10", "v9")) == ("v9", "v10")
    assert roles(("b", "a")) == ("a", "b")


def test_a_revised_pane_changes_all_that_follows() -> None:
    contest, revised = read(30), [tally._replace(second=0) if tally.start == 600_000 else tally for tally in tallies(30)]
    again = contest.read([tally for tally in revised if tally.start >= 600_000], 600_000)
    anew = Contest()
    anew.read(revised, 0)
    assert contest.at(10**9) == anew.at(10**9) != read(30).at(10**9)
    assert again == [60_000 * i for i in range(10, 30)]


def test_what_is_settled_survives_a_restart() -> None:
    contest = read(30)
    contest.settle(600_000)
    back = Contest.from_bytes(contest.to_bytes())
    back.read(tallies(30), 0)  # panes before it are not counted twice
    assert back.at(10**9) == read(30).at(10**9)


def test_a_newer_state_is_refused() -> None:
    with pytest.raises(DriftlineError, match="codec 200"):
        Contest.from_bytes(bytes([200]))


def test_both_versions_panes_know_a_part_of_the_ids() -> None:
    """The version that answers an id later knows of the one before."""
    first, second = Answers(rivals={"2": [10, 3, 1]}), Answers(rivals={"1": [20, 4, 6], "9": [5, 5, 0]})
    assert tally_of(0, first, second, PAIR, 7) == Tally(0, 30, 1 + 4, 3 + 6, 7)
