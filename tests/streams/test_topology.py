"""What the verbs of one worker say together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from driftline.streams.topology import Pipeline


def verb(**starts: int) -> Any:
    return SimpleNamespace(positions=SimpleNamespace(starts={TP(name, 0): at for name, at in starts.items()}))


def test_a_topic_of_two_verbs_is_read_from_where_the_one_behind_stands() -> None:
    ingest: Any = SimpleNamespace(start_positions=lambda: {TP("predictions", 0): 4})
    for decide, store in ((7, 10), (10, 7)):
        verbs = Pipeline(ingest, verb(panes=5), verb(results=decide), verb(results=store, alerts=2))
        expected = {"predictions": 4, "panes": 5, "results": 7, "alerts": 2}
        assert verbs.start_positions() == {TP(name, 0): at for name, at in expected.items()}
