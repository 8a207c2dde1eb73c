"""One peer's whole job on the events of a topic: decode, join labels, windows of 10 000, drift of every feature.

    python benchmarks/peer.py NAME BOOTSTRAP PREFIX PARTITIONS REFERENCE TESTS WINDOWS

Runs in the peer's own environment, so it imports nothing of driftline. JSON is decoded by orjson, labels are joined by dictionary, a
window is handed to the library as columns, through its API for batches. TESTS are those that driftline does, apart by commas: a peer does
those of them that it has. Processor time counts from the end of the first window, which is the warm-up, to the last record, or to the end
of so many WINDOWS. Prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from confluent_kafka import Consumer, TopicPartition

WINDOW = 10_000
Columns = dict[str, list[Any]]


class Peer(Protocol):
    """A library at work. `window` returns how many features drifted, each test for itself."""

    def __init__(self, reference: Columns, tests: list[str]) -> None: ...

    def window(self, columns: Columns) -> int: ...


def numeric(columns: Columns) -> list[str]:
    """Names of the numeric features."""
    return [name for name in columns if name.startswith("num")]


class Evidently:
    """`DataDriftPreset` on a window against the reference, once for each test."""

    NUMERIC: Final = {"ks": "ks", "psi": "psi", "jensen_shannon": "jensenshannon", "wasserstein": "wasserstein"}
    CATEGORICAL: Final = {"chi_square": "chisquare", "psi": "psi", "jensen_shannon": "jensenshannon"}

    def __init__(self, reference: Columns, tests: list[str]) -> None:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        numbers, words = numeric(reference), [name for name in reference if name not in numeric(reference)]
        self._definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
        self._frame, self._dataset, self._report = pd.DataFrame, Dataset, Report
        self._presets = [
            *(partial(DataDriftPreset, columns=numbers, num_method=method) for method in _known(self.NUMERIC, tests)),
            *(partial(DataDriftPreset, columns=words, cat_method=method) for method in _known(self.CATEGORICAL, tests)),
        ]
        self._reference = self._of(reference)

    def _of(self, columns: Columns) -> Any:
        return self._dataset.from_pandas(self._frame(columns), data_definition=self._definition)

    def window(self, columns: Columns) -> int:
        found = self._report([preset() for preset in self._presets]).run(self._of(columns), self._reference)
        values = [metric["value"] for metric in found.dict()["metrics"]]
        return sum(int(value["count"]) for value in values if isinstance(value, dict) and "count" in value)


class Nannyml:
    """Univariate drift. It has no PSI."""

    NUMERIC: Final = {"ks": "kolmogorov_smirnov", "jensen_shannon": "jensen_shannon", "wasserstein": "wasserstein"}
    CATEGORICAL: Final = {"chi_square": "chi2", "jensen_shannon": "jensen_shannon"}

    def __init__(self, reference: Columns, tests: list[str]) -> None:
        import nannyml
        import pandas as pd

        self._frame = pd.DataFrame
        self._calculator = nannyml.UnivariateDriftCalculator(
            column_names=list(reference), continuous_methods=_known(self.NUMERIC, tests),
            categorical_methods=_known(self.CATEGORICAL, tests), chunk_size=WINDOW,
        )  # fmt: skip
        self._calculator.fit(self._frame(reference))

    def window(self, columns: Columns) -> int:
        found = self._calculator.calculate(self._frame(columns)).to_df()
        return int(found.xs("alert", axis=1, level=-1).to_numpy().sum())


class Whylogs:
    """A profile of the window, and Kolmogorov-Smirnov and chi-square from it and the reference's: it has no others of these."""

    def __init__(self, reference: Columns, tests: list[str]) -> None:
        import pandas as pd
        import whylogs
        from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

        self._frame, self._log, self._scores = pd.DataFrame, whylogs.log, calculate_drift_scores
        self._reference = self._log(pandas=self._frame(reference)).view()

    def window(self, columns: Columns) -> int:
        view = self._log(pandas=self._frame(columns)).view()
        scores = self._scores(target_view=view, reference_view=self._reference, with_thresholds=True)
        return sum(bool(score) and score.get("drift_category") == "DRIFT" for score in scores.values())


class River:
    """Six running statistics and ADWIN a feature; categories as codes. It tests no windows."""

    def __init__(self, reference: Columns, tests: list[str]) -> None:
        from river import drift, stats

        kinds = (stats.Mean, stats.Var, stats.Min, stats.Max, stats.EWMean, lambda: stats.Quantile(0.5))
        self._codes: dict[str, int] = {}
        self._statistics = {name: [kind() for kind in kinds] for name in reference}
        self._detectors = {name: drift.ADWIN() for name in reference}

    def window(self, columns: Columns) -> int:
        drifted = 0
        for name, values in columns.items():
            numbers = [v for v in values if v is not None]
            if not name.startswith("num"):
                numbers = [self._codes.setdefault(word, len(self._codes)) for word in numbers]
            for statistic in self._statistics[name]:
                deque(map(statistic.update, numbers), maxlen=0)
            detector = self._detectors[name]
            before = detector.n_detections
            deque(map(detector.update, numbers), maxlen=0)
            drifted += detector.n_detections > before
        return drifted


def _known(names: dict[str, str], tests: list[str]) -> list[str]:
    """What a library calls those of the tests that it has."""
    return [names[test] for test in tests if test in names]


PEERS: dict[str, type[Peer]] = {"evidently": Evidently, "nannyml": Nannyml, "river": River, "whylogs": Whylogs}


class Join:
    """Labels to predictions, whichever comes first; counts pairs and errors."""

    def __init__(self) -> None:
        self._predictions: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self.joined = self.errors = 0

    def predicted(self, identity: str, answer: int) -> None:
        label = self._labels.pop(identity, None)
        if label is None:
            self._predictions[identity] = answer
        else:
            self._pair(answer, label)

    def labelled(self, identity: str, label: int) -> None:
        answer = self._predictions.pop(identity, None)
        if answer is None:
            self._labels[identity] = label
        else:
            self._pair(answer, label)

    def _pair(self, answer: int, label: int) -> None:
        self.joined += 1
        self.errors += answer != label


def run(
    name: str, bootstrap: str, prefix: str, partitions: int, reference: Columns, tests: list[str], most: int
) -> dict[str, float | int]:  # fmt: skip
    """Consume both topics to their ends, or for `most` windows."""
    peer, join, names = PEERS[name](reference, tests), Join(), list(reference)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{prefix}-{name}", "enable.auto.commit": False, "log_level": 0})
    source = [TopicPartition(f"{prefix}.{topic}", k, 0) for topic in ("predictions", "outcomes") for k in range(partitions)]
    left = sum(consumer.get_watermark_offsets(tp, timeout=30)[1] for tp in source)
    consumer.assign(source)
    outcomes = f"{prefix}.outcomes"
    rows: list[dict[str, Any]] = []
    windows = drifted = 0
    cpu_s, wall_s = time.process_time(), time.monotonic()
    while left and windows < most:
        for message in consumer.consume(min(left, WINDOW), 5.0):
            left -= 1
            event = orjson.loads(message.value())
            if message.topic() == outcomes:
                join.labelled(event["id"], event["label"])
                continue
            join.predicted(event["id"], event["prediction"])
            rows.append(event["features"])
            if len(rows) == WINDOW:
                drifted += peer.window({name: [row[name] for row in rows] for name in names})
                windows, rows = windows + 1, []
                if windows == 1:
                    cpu_s, wall_s = time.process_time(), time.monotonic()
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    predictions = (windows - 1) * WINDOW + len(rows)
    return {
        "predictions_per_core_second": predictions / cpu_s, "predictions": predictions, "cpu_s": cpu_s, "wall_s": wall_s,
        "windows": windows, "drifted": drifted, "joined": join.joined,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def main() -> None:
    name, bootstrap, prefix, partitions, reference, tests, most = sys.argv[1:]
    warnings.simplefilter("ignore")
    columns = json.loads(Path(reference).read_text("utf-8"))
    print(json.dumps(run(name, bootstrap, prefix, int(partitions), columns, tests.split(","), int(most))))


if __name__ == "__main__":
    main()
