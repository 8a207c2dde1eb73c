"""Which cells an event belongs to: each watched name and combination, with values that the file does not know put together."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import OTHER, Model
from driftline.streams.panes import PaneKey
from driftline.streams.segments import Cells, Places, cells_expected, name_of, without_place

TEXTS = st.text(st.sampled_from(["a", "+", "\\", "="]), max_size=4)
GROUPS = st.dictionaries(st.sampled_from("xyz"), TEXTS)
MODEL = Model("m", segments=("x", "x+y", "z+x"))
BOUND = Model("m", segments=("x", "x+y"), known_values={"x": ("a", "aa"), "y": ("+",)})


@given(GROUPS, GROUPS)
def test_two_events_share_a_combination_only_if_they_share_its_values(first: dict[str, str], second: dict[str, str]) -> None:
    for cell in {*Cells(MODEL).of(first)} & {*Cells(MODEL).of(second)}:
        parts = name_of(cell, MODEL).split("+")
        assert [first[part] for part in parts] == [second[part] for part in parts]


@given(st.lists(GROUPS))
def test_there_are_no_more_cells_than_the_file_allows_however_many_values_come(events: list[dict[str, str]]) -> None:
    assert len({cell for event in events for cell in Cells(BOUND).of(event)}) <= cells_expected(BOUND)


@given(GROUPS)
def test_an_event_is_in_one_cell_of_every_name_that_it_tells(event: dict[str, str]) -> None:
    names = [name_of(cell, BOUND) for cell in Cells(BOUND).of(event)]
    assert names == [name for name in BOUND.segments if {*name.split("+")} <= event.keys()]


def test_values_that_the_file_does_not_know_share_a_cell() -> None:
    assert Cells(BOUND).of({"x": "b", "y": "+"}) == (f"x={OTHER}", f"x+y={OTHER}+\\+")


def test_a_name_without_known_values_shares_the_budget_among_those_expected() -> None:
    assert cells_expected(Model("m", segments=("x", "x+y"), segment_values=7, known_values={"x": ("a",)})) == 2 + 7


FEW = Model("m", segments=("user", "x"), segment_values=3)
CELLS = st.lists(st.builds("{}={}".format, st.sampled_from(["user", "x"]), st.integers(0, 30)), max_size=40)


def taken(cells: list[str]) -> set[str]:
    """The cells that have a place in a pane when all have come."""
    places, have = Places(), set[str]()
    for cell in cells:
        lost = places.ask(PaneKey("m", "1", cell, 0), FEW)
        have = (have | {cell}) - ({lost.segment} if lost else set())
    return have


@given(CELLS, st.randoms())
def test_which_cells_have_a_place_does_not_depend_on_the_order_they_come_in(cells: list[str], random: Any) -> None:
    shuffled = random.sample(cells, len(cells))
    assert taken(cells) == taken(shuffled) == set(cells) - without_place(set(cells), FEW)


@given(CELLS, st.integers(0, 40))
def test_the_cells_of_a_union_are_found_among_those_of_its_parts(cells: list[str], cut: int) -> None:
    parts = taken(cells[:cut]) | taken(cells[cut:])
    assert parts - without_place(parts, FEW) == set(cells) - without_place(set(cells), FEW)


@given(CELLS)
def test_no_name_has_more_cells_than_places(cells: list[str]) -> None:
    assert all(sum(name_of(cell, FEW) == name for cell in taken(cells)) <= 3 for name in FEW.segments)
