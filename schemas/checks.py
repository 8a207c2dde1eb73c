"""What no single key of a model's file can tell: names that nothing has, values that exclude each other, lists that say a thing twice.

Each mistake is one that would otherwise pass in silence, and watch something else than was meant.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from driftline.schemas.config import DAY_MS, METRICS, MOST_CHANCES, OF_CHANCES, OTHER, Model

if TYPE_CHECKING:
    from driftline.schemas.load import Key, Source

OWN: Final = ("(prediction)", "(score)")  # the model's answers, which count as features
MOST_CELLS: Final = 1_000  # of one watched name or combination
LONGEST_VECTOR: Final = 4_096  # that an event may have
_DERIVED: Final = ("length", "unknown_words", "norm", *(f"p{i}" for i in range(8)))  # columns of texts and vectors: `streams.derived`
_LISTS: Final = ("classes", "segments", "tests", "baselines", "metrics", "judged", "protected", "detectors", "residual_detectors")
_TRAILING: Final = {"m": DAY_MS // 1_440, "h": DAY_MS // 24, "d": DAY_MS}


def check(source: Source, model: Model, at: Key) -> None:
    """Raise `ConfigurationError` for the first mistake in the table `at` of a file, which describes `model`."""
    for each in (_check_lists, _check_windows, _check_classes, _check_features, _check_bounds, _check_metrics, _check_segments):
        each(source, model, at)


def nearest(name: str, known: Iterable[str]) -> str:
    """The fix of a name that is none of the known ones.

    >>> nearest("agee", ["age", "plan"]), nearest("x", ["age", "plan"])
    ("did you mean 'age'?", 'use one of age, plan')
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(names)}"


def _check_lists(source: Source, model: Model, at: Key) -> None:
    for key in _LISTS:
        if twice := _twice(getattr(model, key)):
            raise source.error((*at, key), f"{twice!r} stands there twice", "name it once")
    for key in ("known_values", "domains"):
        for name, values in getattr(model, key).items():
            if not values:
                problem = "no value is named" + (": every value would be a fault" if key == "domains" else "")
                raise source.error((*at, key, name), problem, f"name at least one, or take {name!r} out of `{key}`")
            if twice := _twice(values):
                raise source.error((*at, key, name), f"{twice!r} stands there twice", "name it once")


def _twice(values: tuple[str, ...]) -> str:
    return next((value for i, value in enumerate(values) if value in values[:i]), "")


def _check_windows(source: Source, model: Model, at: Key) -> None:
    for i, window in enumerate(model.windows):
        here = (*at, "windows", i)
        for name, value in (("length", window.length_ms), ("every", window.every_ms)):
            if value % model.pane_ms:
                fix = f"use a multiple of the pane ({model.pane_ms / 1000:g} s), or another pane"
                raise source.error((*here, name), "a window is a sum of panes, and this is no multiple of the pane", fix)
        if window.every_ms > window.length_ms:
            fix = "write `every`, and make it at most `length`"
            raise source.error((*here, "every"), "windows that begin further apart than they are long leave gaps", fix)
        if window in model.windows[:i]:
            raise source.error(here, "there are such windows already", "take one of the two tables out, or change its length or step")
    if not model.baselines:
        raise source.error((*at, "baselines"), "windows would be compared with nothing", 'name one at least: baselines = ["training"]')
    for i, baseline in enumerate(model.baselines):
        _, _, span = baseline.partition("trailing:")
        if span and int(span[:-1]) * _TRAILING[span[-1]] < min(window.length_ms for window in model.windows):
            fix = "make it longer than a window, for instance trailing:7d"
            raise source.error((*at, "baselines", i), f"no window lies within {span} before another", fix)
    for i, exclusion in enumerate(model.exclude):
        if exclusion.end <= exclusion.begin:
            raise source.error((*at, "exclude", i, "end"), "it ends before it begins", "write an `end` that is later than `begin`")


def _check_classes(source: Source, model: Model, at: Key) -> None:
    if model.classes and model.positive not in model.classes and model.task == "binary":
        fix = f"name the positive class: one of {', '.join(model.classes)}"
        raise source.error((*at, "classes"), f"the positive class {model.positive!r} is none of them", fix)
    if model.missing_label != "unknown" and model.task != "binary":
        raise source.error((*at, "missing_label"), f"a {model.task} model has no {model.missing_label} class", 'set it to "unknown"')
    for key in ("costs", "values"):
        for pair in getattr(model, key):
            predicted, slash, actual = pair.partition("/")
            if not (predicted and slash and actual):
                problem = f"{pair!r} is no pair of a predicted and an actual class"
                raise source.error((*at, key, pair), problem, 'write "predicted/actual" = price, for instance "1/0" = -5.0')
            if model.task not in ("binary", "multiclass"):
                raise source.error((*at, key, pair), f"a {model.task} model has no classes", f"take [{key}] out")
            known = [f"{one}/{other}" for one in model.classes for other in model.classes]
            if known and pair not in known:
                raise source.error((*at, key, pair), f"{pair!r} names a class that `classes` does not", nearest(pair, known))


def _check_features(source: Source, model: Model, at: Key) -> None:
    """Features whose columns have the names of others, vectors that no event can carry, and edges, ranges and domains of none of them."""
    derived = {
        f"{name}.{part}": name for name, kind in model.features.items() if kind not in ("numeric", "categorical") for part in _DERIVED
    }
    for name, kind in model.features.items():
        if name in derived:
            of = derived[name]
            raise source.error((*at, "features", name), f"{name!r} is a column that is made of {of!r}", f"rename it, or {of!r}")
        if kind.startswith("embedding:") and int(kind.partition(":")[2]) > LONGEST_VECTOR:
            problem = f"an event has vectors of {LONGEST_VECTOR} numbers at most"
            raise source.error((*at, "features", name), problem, "publish fewer of them, and declare as many")
    for key, wanted in (("edges", "numeric"), ("ranges", "numeric"), ("domains", "categorical")):
        for name in getattr(model, key):
            kind = "numeric" if name in derived else model.features.get(name, "")
            problem, fix = "", f"take it out of `{key}`"
            if name.startswith("("):
                own = OWN if key != "edges" else ()
                problem = "" if name in own else f"{name!r} has no {key} of its own"
                fix = nearest(name, own) if own else fix
            elif model.features and not kind and (key, name) != ("edges", "*"):
                problem, fix = f"{name!r} is none of the features", nearest(name, tuple(model.features))
            elif kind and kind != wanted:
                problem = f"{name!r} is {kind}, and {key} are of {wanted} features"
            if problem:
                raise source.error((*at, key, name), problem, fix)


def _check_bounds(source: Source, model: Model, at: Key) -> None:
    for name, (least, most) in model.ranges.items():
        if not least <= most:
            fix = "write [least, largest], for instance [0, 120]"
            raise source.error((*at, "ranges", name), f"no value lies between {least:g} and {most:g}", fix)
    for name, rule in model.edges.items():
        if rule == "doane" or rule.startswith("quantile:"):
            continue
        edges = [float(edge) for edge in rule.split(",")]
        endless = [text.strip() for text, edge in zip(rule.split(","), edges, strict=True) if not math.isfinite(edge)]
        if endless:
            raise source.error((*at, "edges", name), f"{endless[0]} is no finite number", "leave it out: the outer bins have no end anyway")
        if edges != sorted(set(edges)):
            raise source.error((*at, "edges", name), "these edges do not ascend", f'write "{_ascending(edges)}"')


def _ascending(edges: Iterable[float]) -> str:
    return ", ".join(f"{edge:.12g}" for edge in sorted(set(edges)))


def _check_segments(source: Source, model: Model, at: Key) -> None:
    parts = {name: name.split("+") for name in model.segments}
    every = list(dict.fromkeys(part for names in parts.values() for part in names))
    for i, (name, names) in enumerate(parts.items()):
        here, earlier = (*at, "segments"), [other for other in list(parts)[:i] if set(parts[other]) == set(names)]
        if "" in names or len(set(names)) < len(names):
            raise source.error(here, f"{name!r} is no combination of names", 'join different names by "+": "region+plan"')
        if earlier:
            raise source.error(here, f"{name!r} makes the same cells as {earlier[0]!r}", "name one of the two")
        for part in names if len(names) > 1 else ():
            meant = _misspelt(part, [other for other in every if other != part and other in model.segments])
            if meant and part not in model.segments and part not in model.known_values:
                fix = f"did you mean {meant!r}? If {part!r} is a name of its own, watch it by itself too: add it to `segments`"
                raise source.error(here, f"{part!r} in {name!r} is nearly {meant!r}, and nothing else names it", fix)
    for name, values in model.known_values.items():
        if name not in every:
            raise source.error((*at, "known_values", name), f"{name!r} is not watched", _add(name, every))
        if OTHER in values:
            problem = f"{OTHER!r} is the cell of all values that are not named"
            raise source.error((*at, "known_values", name), problem, f"take {OTHER!r} out: it is there by itself")
    for name, names in parts.items():
        cells = max(math.prod(len(model.known_values.get(part, ())) + 1 for part in names), model.segment_values)
        if cells > MOST_CELLS:
            problem = f"{name!r} may have {cells} cells, each as large as the whole; at most {MOST_CELLS} are watched"
            raise source.error((*at, "segments"), problem, "name fewer values, or lower `segment_values`")
    for name in model.protected:
        if name not in model.segments:
            raise source.error((*at, "protected"), f"{name!r} is not watched", _add(name, model.segments))


def _misspelt(name: str, known: list[str]) -> str:
    """The known name that differs in a letter or two; names that differ in their numbers are meant to."""
    close = difflib.get_close_matches(name, known, 1, 0.8)
    return close[0] if close and re.sub(r"\d+", "", close[0]) != re.sub(r"\d+", "", name) else ""


def _add(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}? Else add {name!r} to `segments`" if close else f"add {name!r} to `segments`"


def _check_metrics(source: Source, model: Model, at: Key) -> None:
    names = METRICS[model.task]
    for key in ("metrics", "judged"):
        for name in getattr(model, key):
            if name not in names:
                raise source.error((*at, key), f"{name!r} is no metric of a {model.task} model", nearest(name, names))
            needs = name in OF_CHANCES and not model.classes, name in (*OF_CHANCES, "all") and len(model.classes) > MOST_CHANCES
            if model.task == "multiclass" and any(needs):
                problem = f"{name!r} needs the probability of every class, and `classes` "
                problem += "does not name them" if needs[0] else f"names {len(model.classes)}; {MOST_CHANCES} are the most that are kept"
                fix = f'name them, {MOST_CHANCES} at most: classes = ["…", "…"]' if needs[0] else "name the metrics that need none"
                raise source.error((*at, key), problem, fix)
