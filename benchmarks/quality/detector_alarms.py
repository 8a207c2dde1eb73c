"""Where detectors of one library signal on given streams, at the setting that keeps a budget: run in the library's own environment.

    python detector_alarms.py driftline|river|frouros STREAMS.npz ALARMS.json BUDGET

Reads arrays of 0 and 1 by name, and `baselines`: each stream's error rate before anything happens. Of each detector's settings the most
sensitive one is taken that keeps the budget, in false alarms per 10 000 labels, on the streams named "choose/…". Writes
{detector: {setting: {stream: [indices]}}}. A detector that signalled begins anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

#: What makes a detector more or less sensitive, from the most to the least; the library's own default is among them.
Settings = dict[str, tuple[str, list[Any], dict[str, Any]]]
CHANCES = [0.05, 0.01, 0.005, 0.002, 0.001, 3e-4, 1e-4, 1e-5, 1e-6, 1e-8]
LIMITS = [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0]
LAMBDAS = [5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 120.0, 200.0]

DRIFTLINE: Settings = {
    "Adwin": ("delta", CHANCES, {}),
    "Bocpd": ("hazard", [1e-2, 1e-3, 1e-4, 1e-6, 1e-9], {"prior_mean": 0.25, "prior_var": 0.1, "data_var": 0.15}),
    "Cusum": ("lambda_", LAMBDAS, {}),
    "Ddm": ("drift_threshold", LIMITS[1:], {}),
    "Ecdd": ("average_run_length", [100, 400, 1000], {}),
    "EDetector": ("average_run_length", [1e2, 1e3, 1e4, 1e5, 1e6], {}),
    "Eddm": ("beta", [0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5], {}),
    "HddmA": ("drift_confidence", CHANCES, {}),
    "HddmW": ("drift_confidence", CHANCES, {}),
    "Kswin": ("alpha", CHANCES, {"seed": 1}),
    "PageHinkley": ("threshold", LAMBDAS, {"mode": "up"}),
    "Rddm": ("drift_level", [2.258, 2.5, 3.0, 3.5, 4.0, 5.0], {}),
    "Shewhart": ("rules", [(1, 2, 3, 4), (1, 2, 4), (1, 2), (1,)], {}),
    "Stepd": ("alpha_d", [0.003, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6], {}),
}
AT_A_TIME = {"Shewhart": 50}  # labels; the others read them one by one
RIVER: Settings = {
    "ADWIN": ("delta", CHANCES, {}),
    "DDM": ("drift_threshold", LIMITS[1:], {}),
    "EDDM": ("beta", [0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5], {}),
    "HDDMA": ("drift_confidence", CHANCES, {}),
    "HDDMW": ("drift_confidence", CHANCES, {}),
    "PageHinkley": ("threshold", LAMBDAS, {"mode": "up"}),
    "KSWIN": ("alpha", [0.005, 1e-4, 1e-6], {"seed": 1}),
}
FROUROS: Settings = {
    "ADWIN": ("delta", CHANCES, {}),
    "CUSUM": ("lambda_", LAMBDAS, {}),
    "DDM": ("drift_level", LIMITS[1:], {}),
    "ECDDWT": ("average_run_length", [100, 400, 1000], {}),
    "EDDM": ("beta", [0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5], {}),
    "HDDMA": ("alpha_d", CHANCES, {"alpha_w": 0.1}),
    "HDDMW": ("alpha_d", CHANCES, {"alpha_w": 0.1}),
    "PageHinkley": ("lambda_", LAMBDAS, {}),
    "RDDM": ("drift_level", [2.258, 2.5, 3.0, 3.5, 4.0, 5.0], {}),
    "STEPD": ("alpha_d", [0.003, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6], {}),
}

Run = Callable[[str, dict[str, Any], Sequence[int], float], Iterator[int]]


def driftline(name: str, parameters: dict[str, Any], values: Sequence[int], baseline: float) -> Iterator[int]:
    from driftline.streams import stats

    if name == "EDetector":  # it is told what is not yet a change; the others learn it from the stream
        parameters = {"baseline": baseline * 1.1, **parameters}
    detector = getattr(stats, name)(**parameters)
    state, step = detector.start(), AT_A_TIME.get(name, 1)
    for end in range(step, len(values) + 1, step):
        part = values[end - step : end]
        state, signal = detector.update(state, (step, float(sum(part)), sum(part) * (1 - sum(part) / step)))  # of zeros and ones
        if signal:
            yield end - 1


def river(name: str, parameters: dict[str, Any], values: Sequence[int], baseline: float) -> Iterator[int]:
    from river import drift

    detector = (getattr(drift, name, None) or getattr(drift.binary, name))(**parameters)
    for i, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            yield i


def frouros(name: str, parameters: dict[str, Any], values: Sequence[int], baseline: float) -> Iterator[int]:
    streaming = import_module("frouros.detectors.concept_drift.streaming")
    detector = getattr(streaming, name)(getattr(streaming, f"{name}Config")(**parameters))
    for i, value in enumerate(values):
        detector.update(value=value)
        if detector.drift:
            yield i
            if name != "RDDM":  # which restarts by itself
                detector.reset()


LIBRARIES: dict[str, tuple[Run, Settings]] = {"driftline": (driftline, DRIFTLINE), "river": (river, RIVER), "frouros": (frouros, FROUROS)}


def within(run: Run, name: str, setting: tuple[str, list[Any], dict[str, Any]], quiet: list[tuple[list[int], float]], budget: float) -> Any:
    """The most sensitive value of the knob that keeps the budget on streams without a change; the least sensitive one where none does."""
    knob, values, others = setting
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        false = sum(len(list(run(name, {**others, knob: values[middle]}, stream, baseline))) for stream, baseline in quiet)
        if false <= budget * sum(len(stream) for stream, _ in quiet) / 10_000:
            high = middle
        else:
            low = middle + 1
    return values[low]


def main(library: str, streams: str, target: str, budget: float) -> None:
    run, settings = LIBRARIES[library]
    with np.load(streams) as file:
        given = {name: file[name].tolist() for name in file.files if name != "baselines"}
        baselines = dict(zip(given, file["baselines"].tolist(), strict=True))
    quiet = [(given[name], baselines[name]) for name in given if name.startswith("choose/")]
    found: dict[str, dict[str, dict[str, list[int]]]] = {}
    for name, setting in settings.items():
        knob, _, others = setting
        value = within(run, name, setting, quiet, budget)
        alarms = {s: list(run(name, {**others, knob: value}, given[s], baselines[s])) for s in given}
        told = f"{knob}={value if isinstance(value, tuple) else format(value, 'g')}"
        found[name] = {told: alarms}
        print(f"· {library} {name} {told}", file=sys.stderr, flush=True)
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
