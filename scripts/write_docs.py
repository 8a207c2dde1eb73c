"""Write the parts of docs/tables.md and docs/events.md that the code decides: `python scripts/write_docs.py`.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; the text around the parts is written by hand. A test holds the
files to what this would write.
"""

from __future__ import annotations

import inspect
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from driftline.schemas.alerts import Alert, Finding, RetrainRequest
from driftline.schemas.config import HOUR_MS, Model
from driftline.schemas.errors import DEAD_LETTER_CODES
from driftline.schemas.events import Outcome, Prediction
from driftline.schemas.results import DriftResult, PerformanceResult, Results
from driftline.schemas.topics import DAY_MS, Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.ledger import Event, Ledger, apply
from driftline.streams.policy import evidence_of

DOCS = Path(__file__).parents[1] / "docs"
START = 1_764_576_000_000  # 1 December 2025, 08:00 UTC
FIELD = re.compile(r"    (\w+): ([^#\n]+?)(?: = [^#\n]*?)?(?:  # (.*))?\n")

#: Types as JSON calls them.
SPOKEN = [
    (r"Annotated\[(.*), Meta\(.*?\)\]", r"\1"),
    (r"\b(Id|Name|Text|str)\b", "string"), (r"\bint\b", "integer"), (r"\bfloat\b", "number"),
    (r"\bAnswer\b", "number, string, boolean or list of strings"), (r"\bRelevance\b", "object of number"),
    (r"\bFeatureValue\b", "number, string, boolean, list of numbers or null"),
    (r"\bFeatures\b", "object of number, string, boolean, list of numbers or null"), (r"\bSegments\b", "object of string"),
    (r"\bCause\b", "string"), (r"dict\[string, (.*?)\]", r"object of \1"), (r"list\[(.*?)\]", r"list of \1"),
    (r"Literal\[(.*)\]", r"\1"), (r" \| None", " or null"), (r" \| ", " or "),
]  # fmt: skip

#: What a view shows is described by its table.
TABLE_OF = {
    "v_alerts": "alerts", "v_drift": "drift_results", "v_lineage": "drift_results", "v_performance": "performance_results",
    "v_comparisons": "comparisons", "v_delays": "performance_panes", "v_reliability": "performance_panes",
    "v_quality": "quality_results", "v_retrain": "retrain_cases",
}  # fmt: skip

#: Columns that views add to those of their tables. ClickHouse keeps no comments on the columns of a view.
VIEW_COLUMNS = {
    "state": "Last word on it: opened, resolved, retracted; requested, withdrawn",
    "opened": "Event time of its first event (UTC, milliseconds)",
    "requested": "Event time of its first event (UTC, milliseconds)",
    "changed": "Event time of its last event (UTC, milliseconds)",
    "events": "Events about it",
    "kind": "Table the row comes from: drift, performance, quality",
    "incident_state": "State of the incident; empty where the row is no evidence of one",
    "retrain_case": "Id of the retrain case that the incident asked for; else empty",
    "hour": "Hour of the predictions, its begin (UTC, seconds)",
    "bin": "Number of the bin of delays, from 0",
    "from_s": "Shortest delay of the bin (seconds)",
    "to_s": "Longest delay of the bin, exclusive (seconds)",
    "labels": "Labels that took so long (rows)",
    "predictions": "Predictions of the hour (rows)",
    "labelled": "Those that have a label so far (rows)",
    "coverage": "Share of the predictions that have a label so far, in [0, 1]",
    "tenth": "Tenth of the score, from 0 for [0, 0.1)",
    "mean_score": "Mean of the scores, in [0, 1]",
    "came_true": "Share that came true, in [0, 1]: of a model that is calibrated as large as mean_score",
    "retrain_state": "State of that case; else empty",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(table(["a", "b"], [["1", "x | y"]]))
    | a | b |
    | --- | --- |
    | 1 | x \\| y |
    """
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fields(record: type[msgspec.Struct]) -> str:
    """The fields of a Struct, in order, with the comments that its source gives them."""
    found = FIELD.findall(inspect.getsource(record))
    assert [name for name, _, _ in found] == list(record.__struct_fields__), record
    required = {field.name: field.required for field in msgspec.structs.fields(record)}
    rows = [[f"`{name}`", spoken(kind), "yes" if required[name] else "", comment] for name, kind, comment in found]
    return table(["field", "type", "required", ""], rows)


def spoken(kind: str) -> str:
    """A type annotation in the words of JSON.

    >>> spoken("dict[Text, float] | None")
    'object of number or null'
    """
    for pattern, words in SPOKEN:
        kind = re.sub(pattern, words, kind)
    return kind


def alert_and_request() -> tuple[Event, Event]:
    """The events that one drifted window gives, with the default policy."""
    about = ("churn", "7", "region=us", START, START + HOUR_MS)
    drift = DriftResult(
        *about, "monthly_charge", "psi", 0.84, 6e-166, 0.031, 0.84, 0.2, 12_000, 1_173, "drift", "", "43be7aae4b1a", "90cc1c02b7d1",
        True, 0.87, 8123,
    )  # fmt: skip
    accuracy = PerformanceResult(
        "churn", "7", "", *about[3:], "accuracy", "realised", 0.83, 0.82, 0.84, 0.84, 3_046, 2_647, 0.87, None, 0.79, "ok", "",
        "43be7aae4b1a", "90cc1c02b7d1", True, 8123,
    )  # fmt: skip
    _, (alert, request) = apply(Ledger("churn", "7"), evidence_of(Results([drift], [accuracy]))["churn", "7"], Model("churn"))
    return alert, request


def message(event: Event) -> str:
    """An event as it stands on its topic: key, headers, value."""
    headers = "\n".join(f"{name}: {value.decode()}" for name, value in event.headers)
    value = msgspec.json.format(event.value, indent=2).decode()
    return f"Key `{event.key.decode()}`, headers\n\n```text\n{headers}\n```\n\nand the value\n\n```json\n{value}\n```"


def event_parts() -> dict[str, str]:
    """The parts of docs/events.md."""
    alert, request = alert_and_request()
    topics = [
        [f"`{topic.name}`", str(topic.partitions) if topic.partitions == 1 else "P", topic.cleanup,
         "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // DAY_MS} days", topic.purpose]
        for topic in Topics().table()
    ]  # fmt: skip
    return {
        "topics": table(["topic", "partitions", "clean-up", "retention", "who writes; who reads"], topics),
        **{record.__name__: fields(record) for record in (Prediction, Outcome, Alert, RetrainRequest, Finding)},
        "codes": table(["code", "what is wrong"], [[f"`{code}`", meaning] for code, meaning in DEAD_LETTER_CODES.items()]),
        "alert": message(alert),
        "request": message(request),
    }


def table_parts(store: ClickHouse) -> dict[str, str]:
    """The parts of docs/tables.md, as a migrated store describes itself."""
    here = "WHERE database = currentDatabase()"
    columns = store.query(f"SELECT table, name, type, comment FROM system.columns {here} ORDER BY table, position").to_pylist()
    comments: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for column in columns:
        comments[column["table"]][column["name"]] = column["comment"]
    parts: dict[str, list[str]] = {"views": [], "tables": []}
    for found in store.query(f"SELECT name, engine, comment FROM system.tables {here} ORDER BY name").to_pylist():
        name, own = found["name"], [column for column in columns if column["table"] == found["name"]]
        if name == "schema_migrations" or not own:
            continue
        told = VIEW_COLUMNS | comments["alerts"] | comments[TABLE_OF.get(name, name)]
        rows = [[f"`{c['name']}`", f"`{c['type']}`", told[c["name"]]] for c in own]
        section = f"### `{name}`\n\n{found['comment']}.\n\n{table(['column', 'type', ''], rows)}"
        parts["views" if found["engine"] == "View" else "tables"].append(section)
    return {name: "\n\n".join(sections) for name, sections in parts.items()}


def renewed(text: str, parts: Mapping[str, str]) -> str:
    """`text` with every part in it written anew."""
    for name, body in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"there is no part {name!r}: write {begin.strip()} and {end.strip()} where it belongs")
        text = f"{before}{begin}{body}\n{end}{after}"
    return text


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as directory, ClickHouse.connect(f"chdb://{directory}/store") as store:
        store.migrate()
        for name, parts in (("tables.md", table_parts(store)), ("events.md", event_parts())):
            path = DOCS / name
            path.write_text(renewed(path.read_text("utf-8"), parts), "utf-8")


if __name__ == "__main__":
    main()
