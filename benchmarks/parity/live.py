"""`make parity`: our detectors beside river's and frouros', each library in an environment of its own, on streams of new seeds.

    PYTHONPATH=benchmarks python benchmarks/parity/live.py [--seed N]

Prints for each detector how many streams were read, how many signals the library gave, and on how many streams ours came at the same
indices; then how fast KSWIN is. Ends with status 1 where an index differs. The seed is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from environments import python_of
from parity.detectors import stream

from driftline.streams import stats
from driftline.streams.stats import Batch, Kswin

HERE = Path(__file__).parent

FAST_ENOUGH = 100 * 6_500  # updates a second of KSWIN


def ours(case: dict[str, Any]) -> list[int]:
    """Where our detector signals, value by value."""
    detector = getattr(stats, case["detector"])(**case["parameters"])
    state, found = detector.start(), []
    for i, value in enumerate(stream(case["seed"], case["kind"], case["length"])):
        state, signal = detector.update(state, Batch.one(value))
        if signal is not None:
            found.append(i)
    return found


def kswin_speed(values: int = 1_000_000) -> float:
    """Updates a second of our KSWIN, many values at once; its indices are those of one by one (`tests/stats/test_kswin.py`)."""
    rng, kswin = np.random.default_rng(1), Kswin(alpha=1e-6)
    made = rng.normal(0, 1, values)
    begin = time.perf_counter()
    kswin.scan(kswin.start(), made)
    return values / (time.perf_counter() - begin)


def recorded(library: str, first: int) -> dict[str, Any]:
    """What the library does, now."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "alarms.json"
        command = [str(python_of(library)), str(HERE / "detectors.py"), library, "--first", str(first), "--output", str(target), "--timed"]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(target.read_text())
        return found


def main(first: int) -> int:
    """Returns the number of streams on which an index differs."""
    print(f"seeds from {first} on (--seed {first} does it again)\n")
    print(f"{'library':<16}{'detector':<14}{'streams':>8}{'signals':>9}{'the same':>10}")
    speeds, wrong = {}, 0
    for library in ("river", "frouros"):
        told = recorded(library, first)
        speeds[library] = told["kswin_updates_a_second"]
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for case in told["rows"]:
            same = ours(case) == case["signals"]
            of = counts[case["detector"]]
            of[0], of[1], of[2] = of[0] + 1, of[1] + len(case["signals"]), of[2] + same
            wrong += not same
            if not same:
                print(f"  differs: {case['detector']} {case['parameters']} {case['kind']} seed {case['seed']}")
        for name, (streams, signals, same) in counts.items():
            print(f"{library + ' ' + told[library]:<16}{name:<14}{streams:>8}{signals:>9}{same:>10}")
    mine = kswin_speed()
    print(f"\nKSWIN, updates a second: driftline {mine:,.0f}; " + "; ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items()))
    print(f"{mine / 6_500:,.0f} times 6 500 (wanted: {FAST_ENOUGH / 6_500:.0f})")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    sys.exit(bool(main(random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed)))
