"""Where the processor time of a worker goes, stage by stage: `make bench-profile`, or ARGS='--events 200000 --arrow --live'.

py-spy looks at the worker from outside, 200 times a second, while it works off a backlog as in monitor-25 (or, with `--live`, while
events come at a steady rate, and a window's labels trickle in). Only the thread that holds the interpreter's lock is looked at: others
wait, for it, for a socket or for the core, which cannot be told from working. A sample belongs to the stage of its innermost frame that
is named below. Shares are multiplied by the processor time of the whole, so what runs without the lock is spread over all stages.
The table goes to benchmarks/results/stages.md and docs/budgets.md.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import latency
import results
import write_docs
from machine import machine
from rig import Failed, Process, Site, brokers, say
from workload import Shape, Source

RATE = 200  # samples a second
NAME = "stages"


class Stage(NamedTuple):
    """A stage, its budget in µs a prediction of the JSON lane (0.9 labels included), and the frames that belong to it."""

    name: str
    budget_us: float
    what: str
    frames: str  # regular expression for `function (file:line)`


#: In order: the first whose expression matches a frame has it. What matches nothing, such as compiled code, belongs to the frame around it.
STAGES = (
    Stage("flush", 0.1, "snapshots and marker made, compressed, sent", r"(encode_pane|encode_marker|_write|_flush|flush|_marker) \("),
    Stage("commit", 0.02, "offsets committed", r"(_?commit\w*|_new_offset\w*) \(|aiokafka/consumer/group_coordinator"),
    Stage("evaluate", 0.1, "snapshots decoded and merged", r"decode_pane|agents/evaluate|streams/(evaluation|watermark|windows|learning)"),
    Stage("judge", 0.1, "tests, metrics, verdicts",
          r"streams/(judge|drift|quality|performance|appraisal|estimates|delays|service|onset|causes|lasting|baselines|contests|battery|powered|labels|together|joint)"
          r"|streams/(answers|calibration|detection|stats/)"),
    Stage("decide", 0.02, "incidents, alerts", r"streams/(policy|ledger)|agents/decide"),
    Stage("store", 0.1, "rows made and inserted", r"agents/store|sinks/|clickhouse_connect|urllib3"),
    Stage("join", 0.3, "labels to predictions", r"streams/(join|columns|cold|tiers|shard)\.py|agents/cold"),
    Stage("fold", 0.3, "bins, counts, moments into panes", r"streams/(panes|layout|sketch|partition|values)\.py"),
    Stage("decode", 1.7, "JSON or Arrow to columns, checks",
          r"streams/(intake|batch|columnar|arrow|registry|breaker)|schemas/|msgspec|pyarrow|numba"),
    Stage("fetch", 0.6, "sockets, record batches, chunks", r"transport/|aiokafka/|kafka/|cramjam|selectors|asyncio/selector"),
    Stage("state", 0.05, "Faust's tables and changelogs", r"faust/(tables|stores|livecheck)|streams/state"),
    Stage("loop", 0.1, "event loop, streams, timers, locks", r"faust/|mode/|asyncio/"),
)  # fmt: skip
OTHER = "other"


def stage_of(stack: str) -> str:
    """The stage of a collapsed stack, outermost frame first, frames apart by semicolons.

    >>> stage_of("run (faust/agents/agent.py:1);add_predictions (streams/join.py:9);argsort (numpy/core/fromnumeric.py:2)")
    'join'
    """
    for frame in reversed(stack.split(";")):
        for stage in STAGES:
            if re.search(stage.frames, frame):
                return stage.name
    return OTHER


def sampled(text: str) -> tuple[Counter[str], Counter[str]]:
    """Samples by stage, and by innermost frame with its stage, from py-spy's raw output.

    A stack that was read while it changed may have anything in a name, an end of a line too.

    >>> sampled("a (streams/judge.py:1) 3\\nb\\nc (streams/judge.py:1) 1")[0]
    Counter({'judge': 4})
    """
    stages: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    for line in text.split("\n"):
        stack, _, count = line.rpartition(" ")
        if not count.isdigit():
            continue
        stage = stage_of(stack)
        stages[stage] += int(count)
        frames[f"{stage}: {_short(stack.rpartition(';')[2])}"] += int(count)
    return stages, frames


def _short(frame: str) -> str:
    """A frame without where its file lies."""
    return re.sub(r"\(.*?((?:[\w-]+/)?[\w-]+\.py):?\d*\)", r"(\1)", frame)


class Recording:
    """py-spy on a worker."""

    def __init__(self, process: Process, file: Path) -> None:
        self._file = file
        spy = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(process.popen.pid)]
        command = [*spy, "--rate", str(RATE), "--nonblocking", "--gil"]
        self._spy = subprocess.Popen(
            [*command, "--format", "raw", "--full-filenames", "--duration", "7200", "--output", str(file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self) -> str:
        self._spy.send_signal(signal.SIGINT)
        _, errors = self._spy.communicate(timeout=60)
        if not self._file.exists():
            raise Failed(f"py-spy could not look into the worker: {errors.strip()[-500:]}")
        return self._file.read_text("utf-8")


def profile(broker: Any, shape: Shape, form: Any, live: int) -> dict[str, Any]:
    """Microseconds of processor time a prediction, by stage, and the frames that took most."""
    with Site(broker, shape) as site:
        source = Source(shape, form)
        worker = site.start_worker()
        for _ in range(2):
            site.publish(source, 40_000)
            site.come_to_rest()
        events = shape.events - 80_000
        if not live:
            site.signal(signal.SIGSTOP)
            site.publish(source, events, last=True)
            site.signal(signal.SIGCONT)
        begin = site.mark()
        recording = Recording(worker, site.directory / "samples.txt")
        if live:
            latency.paced(site, source, events, live)
        end = site.catch_up()
        stages, frames = sampled(recording.end())
    total = sum(stages.values())
    each_us = (end.cpu_s - begin.cpu_s) / events * 1e6
    return {
        "cpu_microseconds_per_prediction": each_us,
        "predictions": events,
        "samples": total,
        "stages": {name: each_us * stages[name] / total for name in [*(stage.name for stage in STAGES), OTHER]},
        "frames": {frame: each_us * count / total for frame, count in frames.most_common(25)},
    }


def table(found: dict[str, Any]) -> str:
    """By stage: what it does, its budget on the JSON lane, and what each profile measured."""
    names = [name for name in found if name != "machine"]
    lines = [f"| stage | what | budget | {' | '.join(names)} |", "| --- | --- | ---: |" + " ---: |" * len(names)]
    for stage in (*STAGES, Stage(OTHER, 0.0, "interpreter, imports", "")):
        measured = " | ".join(f"{found[name]['stages'][stage.name]:.2f}" for name in names)
        lines.append(f"| {stage.name} | {stage.what} | {stage.budget_us or ''} | {measured} |")
    sums = " | ".join(f"**{found[name]['cpu_microseconds_per_prediction']:.2f}**" for name in names)
    lines.append(f"| **sum** | µs of processor time a prediction, 0.9 labels included | {sum(s.budget_us for s in STAGES):.2f} | {sums} |")
    return "\n".join(lines)


def save(found: dict[str, Any], directory: Path) -> None:
    """stages.json and stages.md."""
    results.write_json(found, NAME, directory)
    frames = "".join(
        f"\n## {name}: where most of it goes\n\n| µs a prediction | stage and function |\n| ---: | --- |\n"
        + "\n".join(f"| {us:.2f} | {frame} |" for frame, us in found[name]["frames"].items())
        + "\n"
        for name in found
        if name != "machine"
    )
    text = f"# {NAME}\n\nWritten by `make bench-profile`. {results.where(found)}\n\n{table(found)}\n{frames}"
    (directory / f"{NAME}.md").write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--arrow", action="store_true", help="the Arrow lane too")
    parser.add_argument("--live", type=int, default=0, metavar="RATE", help="also at so many predictions a second")
    parser.add_argument("--quick", action="store_true", help="write to .cache/bench only")
    options = parser.parse_args()
    directory = results.directory(options.quick)
    shape = Shape(events=options.events)
    wanted = [("JSON", "json", 0)] + [("Arrow", "arrow", 0)] * options.arrow + [("JSON, live", "json", options.live)] * bool(options.live)
    found: dict[str, Any] = {"machine": machine()}
    with brokers() as broker:
        for name, form, live in wanted:
            say(f"{name} …")
            found[name] = profile(broker, shape, form, live)
    save(found, directory)
    if not options.quick:
        document = write_docs.DOCS / "budgets.md"
        document.write_text(write_docs.renewed(document.read_text("utf-8"), {"stages": table(found)}), "utf-8")
    print((directory / f"{NAME}.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
