"""What is known of the models at a moment."""

from __future__ import annotations

from itertools import product

import pytest

from driftline.schemas.config import Model
from driftline.schemas.reference import CategoricalProfile, Entry, Lifecycle, Profile, Reference, decode_entry, encode_entry, entry_key
from driftline.streams.registry import Incomplete, Registry


def reference(effective_from: int = 0, *categories: str, version: str = "1", model: str = "m") -> Reference:
    features: dict[str, Profile] = {"c": CategoricalProfile(list(categories), [1] * len(categories), 0, len(categories), 0)}
    return Reference(model, version, features, len(categories), effective_from=effective_from)


def registry(*references: Reference) -> Registry:
    known = Registry({})
    for timestamp, entry in enumerate(references):
        known.add(entry, timestamp)
    return known


def in_force(known: Registry, start: int, version: str = "1") -> str:
    layout = known.layout("m", version, start)
    return layout.hash if layout else ""


def test_a_pane_uses_the_reference_in_force_at_its_start() -> None:
    # event time  ──────┬───────────┬──────►
    #                   a from 10   b from 20
    a, b = reference(10, "a"), reference(20, "b")
    known = registry(b, a)
    assert [in_force(known, start) for start in (9, 10, 19, 20, 10**15)] == ["", a.hash, a.hash, b.hash, b.hash]


def test_of_two_references_for_one_moment_the_later_entry_holds() -> None:
    a, b = reference(10, "a"), reference(10, "b")
    assert in_force(registry(a, b), 10) == b.hash


def test_a_reference_that_was_replaced_is_still_found_by_its_hash() -> None:
    a, b = reference(10, "a"), reference(10, "b")
    found = registry(a, b).by_hash(a.hash)
    assert found is not None and found.reference == a


def test_an_earlier_reference_may_come_in_force_again() -> None:
    a, b = reference(0, "a"), reference(10, "b")
    known = registry(a, b, reference(20, "a"))
    assert [in_force(known, start) for start in (5, 15, 25)] == [a.hash, b.hash, a.hash]


def test_versions_have_references_of_their_own() -> None:
    known = registry(reference(0, "a", version="1/2"))
    assert (in_force(known, 5, "1/2") != "", in_force(known, 5, "1"), in_force(known, 5, "2")) == (True, "", "")


def test_a_configured_model_is_known_at_any_time() -> None:
    known = Registry({"m": Model("m", task="regression")})
    known.complete_until = 0
    assert (known.knows("m", 5), known.model("m").task) == (True, "regression")


def test_a_model_is_known_after_its_first_entry_only() -> None:
    # Kafka time  ───────┬─────────►
    #             no    100   yes
    known = Registry({})
    known.add(Lifecycle("m", "1", "version.deployed", 0), 100)
    known.add(reference(), 200)
    assert [known.knows("m", timestamp) for timestamp in (99, 100, 101)] == [False, False, True]


def test_a_model_is_called_unknown_only_where_the_topic_was_read_far_enough() -> None:
    known = Registry({})
    known.complete_until = 100
    assert known.knows("m", 99) is False
    with pytest.raises(Incomplete) as raised:
        known.knows("m", 100)
    assert raised.value.timestamp == 100


def test_a_model_known_by_its_references_only_has_the_defaults() -> None:
    assert registry(reference()).model("m") == Model("m")


NAMES = ["a/b", "a", "b", "a%2Fb", "", 'a"b', "ä", "a//b", "reference"]


def test_no_two_entries_have_the_same_key() -> None:
    entries: list[Entry] = []
    for model, version in product(NAMES, NAMES):
        entries += [reference(0, model=model, version=version), reference(5, model=model, version=version)]
        entries += [Lifecycle(model, version, "version.deployed", 0), Lifecycle(model, version, "version.promoted", 0)]
    assert len({entry_key(entry) for entry in entries}) == len(entries)


@pytest.mark.parametrize("entry", [reference(3, "a", "", "ä", version='1/"x'), Lifecycle("m", "1", "version.rolled-back", 7)])
def test_an_entry_travels_and_comes_back_the_same(entry: Reference | Lifecycle) -> None:
    assert decode_entry(encode_entry(entry)) == entry


def test_the_hash_is_of_the_content_not_of_when_it_holds() -> None:
    assert reference(0, "a").hash == reference(9, "a").hash != reference(0, "b").hash
