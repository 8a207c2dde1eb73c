"""What is known of the models: their configuration, and the references in force. Pure; the `models` topic is read elsewhere."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Set

from driftline.schemas.config import Model
from driftline.schemas.reference import Entry, Reference
from driftline.streams.layout import Layout


class Incomplete(Exception):
    """Whether a model is known cannot be said yet: the `models` topic must first be read up to `timestamp`."""

    def __init__(self, timestamp: int) -> None:
        self.timestamp = timestamp


class Registry:
    """Answers for any moment of event time, so that a replay hears what the first run heard.

    A pane uses the reference in force at its start: the entry with the latest `effective_from` not after it. `complete_until` is
    the Kafka time stamp below which every entry of the topic is known; whether a model is unknown can be said only of older records.
    """

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.configured = dict(models)
        self.complete_until = 2**62
        self.changes = 0  # grows with every reference
        self._layouts: dict[tuple[str, str], list[tuple[int, Layout]]] = {}
        self._by_hash: dict[str, Layout] = {}
        self._first_seen: dict[str, int] = {}

    def add(self, entry: Entry, timestamp: int) -> None:
        """Take in one entry of the `models` topic; `timestamp` is its Kafka time stamp."""
        self._first_seen[entry.model] = min(timestamp, self._first_seen.get(entry.model, timestamp))
        if not isinstance(entry, Reference):
            return
        self.changes += 1
        layout = self._by_hash.setdefault(entry.hash, Layout(entry))
        versions = self._layouts.setdefault((entry.model, entry.version), [])
        versions[:] = [known for known in versions if known[0] != entry.effective_from]
        insort(versions, (entry.effective_from, layout), key=lambda item: item[0])

    @property
    def names(self) -> Set[str]:
        """The models that are configured or registered."""
        return self.configured.keys() | self._first_seen.keys()

    def model(self, name: str) -> Model:
        """The configuration; a model known by its references only has the defaults."""
        return self.configured.get(name) or Model(name)

    def knows(self, name: str, timestamp: int) -> bool:
        """Whether a record of this Kafka time stamp may name the model: configured, or registered before the record."""
        if name in self.configured or self._first_seen.get(name, timestamp) < timestamp:
            return True
        if timestamp >= self.complete_until:
            raise Incomplete(timestamp)
        return False

    def layout(self, model: str, version: str, start: int) -> Layout | None:
        """The reference in force for a pane or window that starts at `start`."""
        versions = self._layouts.get((model, version), [])
        at = bisect_right(versions, start, key=lambda item: item[0])
        return versions[at - 1][1] if at else None

    def in_force(self, model: str, version: str) -> dict[int, str]:
        """The hashes of a version's references, each by the event time from which on it is in force."""
        return {at: layout.hash for at, layout in self._layouts.get((model, version), [])}

    def by_hash(self, reference: str) -> Layout | None:
        """The reference of this hash, in force or not."""
        return self._by_hash.get(reference)

    def references(self) -> list[Reference]:
        """Every reference that was ever put in force."""
        return [layout.reference for versions in self._layouts.values() for _, layout in versions]
