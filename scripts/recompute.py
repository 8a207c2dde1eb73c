"""Every table once more from the raw events, in one go: no worker, no crash, nothing that comes twice. For `simulate` and `soak`.

The panes are made by the product's pure core and held against `recount`, which shares no code with it; windows are judged from them
by the pure judge, and incidents folded from those verdicts, all at once and in order.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from recount import Key, Recount, add, orphans, recount

from driftline.schemas.config import Model
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import Entry, Reference, encode_entry
from driftline.schemas.results import encode_results
from driftline.schemas.topics import Topics
from driftline.sinks.rows import KEPT_BYTES, DeadLetterRow, event_rows, model_rows, result_rows
from driftline.sinks.tables import tables as declared
from driftline.streams.agents.decide import Ledgers
from driftline.streams.agents.evaluate import pieces
from driftline.streams.archive import archived
from driftline.streams.batch import Topic
from driftline.streams.evaluation import GROUPS, POOLED, Evaluation
from driftline.streams.panes import PaneKey, encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.segments import without_place
from driftline.streams.together import SUMMED
from driftline.streams.transport.chunk import chunk_of

Raw = Sequence[tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]  # offset, Kafka time stamp, key, value, headers
CHUNK = 2_000
#: What says how much was known, or when, and not what is true; `began` is looked for in the panes that are still kept then.
PASSING = frozenset({"revision", "id", "time", "maturity", "began"})
WITH_FINDINGS = frozenset({"findings", "evidence"})  # columns of alerts and of requests: JSON lists of findings
RIPENING = "of the labels to come are expected by now"
VIEWS = {"alerts": ("model", "version", "incident"), "retrain_cases": ("model", "version", "id")}  # one row each in its last state
#: The columns that make a row, by table. What operators and workers did is no function of the events.
ROW_OF: Mapping[str, tuple[str, ...]] = {**{name: t.key for name, t in declared().items() if name != "audit_log"}, **VIEWS}
Table = dict[tuple[Any, ...], dict[str, Any]]


@dataclass
class Recomputed:
    """What the tables must hold, by table and row; `learned` are references that nobody published though they were due.

    `orphans` are all labels that no prediction came for (model, partition, offset); when each is named is left to the stream.
    """

    tables: dict[str, Table] = field(default_factory=lambda: defaultdict(dict))
    learned: list[Reference] = field(default_factory=list)
    panes: dict[Key, Recount] = field(default_factory=dict)
    orphans: set[tuple[str, int, int]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)  # where core and recount disagree


def recompute(
    models: Mapping[str, Model], entries: Iterable[tuple[int, Entry]], sources: Mapping[int, tuple[Raw, Raw]], topics: Topics
) -> Recomputed:
    """The tables of all source partitions: `sources` holds, by number, the records of predictions and of outcomes; `entries` what the
    topic `models` says, each with its Kafka time stamp."""
    out = Recomputed()
    registry = Registry(models)
    for timestamp, entry in entries:
        registry.add(entry, timestamp)
        put(out.tables, model_rows(encode_entry(entry), 0, timestamp))
    evaluation = Evaluation(registry, len(sources), {})
    for number, (predictions, outcomes) in sources.items():
        partition = Partition(number, registry, {})
        dead = {
            "predictions": _fed(partition, "predictions", predictions, topics, models, out),
            "outcomes": _fed(partition, "outcomes", outcomes, topics, models, out),
        }
        for key, snapshot in partition.flush().snapshots:
            evaluation.take(encode_key(key, number), snapshot)
        quiet = partition.progress(dict.fromkeys([*models, *partition.met], True), True)
        evaluation.take(progress_key(number), encode_progress(quiet))
        usable = [
            [None if offset in dead[name] else value for offset, _, _, value, _ in raw]
            for name, raw in (("predictions", predictions), ("outcomes", outcomes))
        ]
        for model in models.values():
            add(out.panes, recount(model, usable[0], usable[1]))
            out.orphans |= {(model.model, number, offset) for offset in orphans(model, usable[0], usable[1])}
    evaluated = evaluation.evaluate()
    out.learned = evaluated.learned
    ledgers = Ledgers(models)
    for results in evaluated.results.values():
        put(out.tables, result_rows(encode_results(results)))
        said, _ = ledgers.handle([encode_results(piece) for piece in pieces(results)])
        for i, event in enumerate(said):
            put(out.tables, event_rows(event.headers, event.value, i))
    for gone in _without_place(models, out):
        out.panes.pop(gone, None)
    out.faults = [*_panes_differ(models, out), *_windows_differ(models, out)]
    return out


def _fed(partition: Partition, name: Topic, raw: Raw, topics: Topics, models: Mapping[str, Model], out: Recomputed) -> set[int]:
    """Feed one topic; returns the offsets of its dead letters, without those that lost against an earlier prediction of their id."""
    add_chunk = partition.add_predictions if name == "predictions" else partition.add_outcomes
    topic = getattr(topics, name)
    dead = set()
    for at in range(0, len(raw), CHUNK):
        part = raw[at : at + CHUNK]
        first = 0 if not at else part[0][0]
        chunk = chunk_of(topic, partition.number, first, part[-1][0] + 1, part)
        found = add_chunk(chunk)
        for letter in found:
            offset, _, key, value, _ = part[letter.index]
            row = {"code": letter.why.code, "key": (key or b"")[:KEPT_BYTES], "value": (value or b"")[:KEPT_BYTES]}
            out.tables["dead_letters"][topic, partition.number, offset] = row
            if letter.why.code != "duplicate_conflict":
                dead.add(offset)
        letters = {letter.index for letter in found}
        put(out.tables, {name: [row for _, row in archived(chunk, name, letters, models.__getitem__)]})
    return dead


def put(tables: dict[str, Table], rows: Mapping[str, Iterable[Any]]) -> None:
    """Rows into tables, each as its key and what is true of it. Of an incident or a request the last event counts."""
    for table, names in ROW_OF.items():
        for row in rows.get(table, ()):
            tables[table][tuple(getattr(row, name) for name in names)] = _content(row)


def stored(rows: Mapping[str, Iterable[Any]]) -> dict[str, Table]:
    """Tables as a store has them, for `differences`: rows by table, each the class of `sinks.rows.TABLES`."""
    tables: dict[str, Table] = defaultdict(dict)
    for table in rows.keys() & ROW_OF.keys():
        put(tables, {table: sorted(rows[table], key=lambda row: int(row.revision))})
    return tables


def _content(row: msgspec.Struct) -> dict[str, Any]:
    """A row without what says when it was written, or, of a dead letter, how somebody put it."""
    fields = msgspec.structs.asdict(row)
    if isinstance(row, DeadLetterRow):
        return {name: fields[name] for name in ("code", "key", "value")}
    for name in fields.keys() & WITH_FINDINGS:
        findings = [{what: said for what, said in finding.items() if what != "began"} for finding in json.loads(fields[name])]
        fields[name] = json.dumps(findings)
    return {name: value for name, value in fields.items() if name not in PASSING}


def differences(got: Mapping[str, Table], want: Recomputed) -> list[str]:
    """What stored tables say otherwise than the recomputation, one line a row. What was said and taken back is no difference."""
    told = list(want.faults)
    told += [f"the reference of {r.model}/{r.version} in force from {r.effective_from} was never published" for r in want.learned]
    told += [f"orphans {key}: its prediction is there" for key in got.get("orphans", {}) if key[:3] not in want.orphans]
    for table in sorted((ROW_OF.keys() - {"orphans"}) & (got.keys() | want.tables.keys())):
        mine, theirs = got.get(table, {}), want.tables.get(table, {})
        for key in sorted(mine.keys() | theirs.keys(), key=repr):
            have, must = mine.get(key), theirs.get(key)
            if must is None and have is not None and _nothing(table, have):
                continue
            if have is None and must is not None and _nothing(table, must):
                continue
            if have is None or must is None:
                told.append(f"{table} {key}: {'missing' if have is None else f'should not be there: {have}'}")
            elif wrong := [name for name in must if not same(have[name], must[name]) and not _early(table, name, have, must)]:
                told.append(f"{table} {key}: {', '.join(f'{name} {have[name]!r} instead of {must[name]!r}' for name in wrong)}")
    return told


def _nothing(table: str, row: Mapping[str, Any]) -> bool:
    """Whether a row says no more than its absence: an empty pane, or what was taken back."""
    if table in {"feature_panes", "performance_panes"}:
        return not row["n"] and not row.get("n_labelled")
    return table in VIEWS and str(row["type"]).split(".")[2] in {"retracted", "withdrawn"}


def _early(table: str, name: str, have: Mapping[str, Any], must: Mapping[str, Any]) -> bool:
    """Whether a figure says how much was known when it was told: labels alone do not make the rows about features be told again.

    Rows that came before their reference have no sums of features together, and the recomputation knows every reference before any row.
    """
    if table == "drift_results" and any(SUMMED in str(row["reason"]) for row in (have, must)):
        return True
    if name == "reason":
        return any(RIPENING in str(row[name]) for row in (have, must))
    return name == "coverage" and table in {"drift_results", "quality_results"} and not must["is_final"]


def same(a: Any, b: Any) -> bool:
    """Equal; floats to within 1e-9, in lists and in JSON too."""
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, str) and isinstance(b, str) and a != b and a[:1] in "[{" and b[:1] in "[{":
        return same(json.loads(a), json.loads(b))
    return bool(a == b)


def _without_place(models: Mapping[str, Model], out: Recomputed) -> set[Key]:
    """Cells of values that have no place in their pane (`segments.Places`): the recount knows no limit."""
    cells: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for model, version, segment, start in [*out.panes, *out.tables["performance_panes"]]:
        cells[model, version, start].add(segment)
    return {(m, v, cell, start) for (m, v, start), there in cells.items() for cell in without_place(there, models[m])}


def _panes_differ(models: Mapping[str, Model], out: Recomputed) -> list[str]:
    """Rows of performance_panes and feature_panes against the recount, which knows neither Kafka nor NumPy."""
    told = []
    for key, pane in out.panes.items():
        row = out.tables["performance_panes"].get(key) or {"n": 0, "n_labelled": 0, "confusion": {}}
        confusion = {"\x1f".join(pair): n for pair, n in pane.confusion.items()}
        want = (pane.n, sum(confusion.values()) + len(pane.errors), confusion)
        if (row["n"], row["n_labelled"], row["confusion"]) != want:
            told.append(f"core and recount: {key}: {row['n'], row['n_labelled'], row['confusion']} instead of {want}")
        for name in models[key[0]].features:
            of_feature = out.tables["feature_panes"].get((*key[:3], name, key[3]))
            if of_feature and of_feature["n"] and pane.features[name].total():
                missing = of_feature["n"] - sum(n for value, n in pane.features[name].items() if value is not None)
                if of_feature["missing"] != missing:
                    told.append(f"core and recount: {key} {name}: {of_feature['missing']} values missing instead of {missing}")
    rest = [(key, row) for key, row in out.tables["performance_panes"].items() if key not in out.panes]
    return told + [f"core and recount: {key} should not be there" for key, row in rest if not _nothing("performance_panes", row)]


def _windows_differ(models: Mapping[str, Model], out: Recomputed) -> list[str]:
    """Rows of performance_results against sums of the recounted panes."""
    told = []
    for key, row in out.tables["performance_results"].items():
        model, version, start, end, segment, _, basis = key
        if basis != "realised" or segment.endswith((POOLED, GROUPS)):
            continue  # made of other figures than the window's own rows
        panes = [out.panes.get(PaneKey(model, version, segment, at)) for at in range(start, end, models[model].pane_ms)]
        n = sum(pane.n for pane in panes if pane)
        n_labelled = sum(pane.confusion.total() + len(pane.errors) for pane in panes if pane)
        if (row["n"], row["n_labelled"]) != (n, n_labelled):
            told.append(f"core and recount: window {key}: {row['n'], row['n_labelled']} instead of {n, n_labelled}")
    return told
