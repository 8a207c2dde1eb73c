"""Read models from TOML, one file a model. Every mistake names its file, line and key, and how to put it right.

Keys are the fields of `config.Model`; a field that ends in `_ms` is written without the ending, as a duration: `pane = "1m"`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from driftline.schemas.config import METRICS, MOST_CHANCES, OF_CHANCES, FeatureType, Model
from driftline.schemas.errors import ConfigurationError

Key = tuple[str | int, ...]
S = TypeVar("S", bound=msgspec.Struct)

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION_FIX: Final = 'write a whole number and a unit (ms, s, m, h, d) in quotes: "90s", "15m", "1h", "7d"'


def load_models(directory: Path) -> dict[str, Model]:
    """The models of every `*.toml` in `directory`, by name.

    Raises
    ------
    ConfigurationError
        For the first mistake; also when the directory is missing or has no model in it, or two files name the same model.
    """
    files = sorted(directory.glob("*.toml"))
    if not files:
        problem = "holds no *.toml file" if directory.is_dir() else "is not a directory"
        raise ConfigurationError(str(directory), None, "", problem, "put one file per model there, or set DRIFTLINE_MODELS")
    models: dict[str, Model] = {}
    origin: dict[str, Path] = {}
    for file in files:
        source = read_toml(file)
        model = model_from(source)
        if model.model in origin:
            raise source.error(
                ("model",), f"{model.model!r} is the model of {origin[model.model].name} already", "one file per model: rename one"
            )
        models[model.model], origin[model.model] = model, file
    return models


def load_model(file: Path) -> Model:
    """The model that `file` describes; raises `ConfigurationError` for the first mistake in it."""
    return model_from(read_toml(file))


def model_from(source: Source, at: Key = ()) -> Model:
    """The model that the table `at` of a file describes."""
    model = source.struct(Model, at)
    for i, window in enumerate(model.windows):
        here = (*at, "windows", i)
        for name, value in (("length", window.length_ms), ("every", window.every_ms)):
            if value % model.pane_ms:
                fix = f"use a multiple of the pane ({model.pane_ms / 1000:g} s), or another pane"
                raise source.error((*here, name), "a window is a sum of panes, and this is no multiple of the pane", fix)
        if window.every_ms > window.length_ms:
            fix = "make `every` at most `length`"
            raise source.error((*here, "every"), "windows that begin further apart than they are long leave gaps", fix)
    if model.classes and model.positive not in model.classes and model.task == "binary":
        fix = f"name the positive class: one of {', '.join(model.classes)}"
        raise source.error((*at, "classes"), f"the positive class {model.positive!r} is none of them", fix)
    for name, (least, most) in model.ranges.items():
        if not least <= most:
            fix = "write [least, largest], for instance [0, 120]"
            raise source.error((*at, "ranges", name), f"no value lies between {least:g} and {most:g}", fix)
    _check_features(source, model, at)
    _check_metrics(source, model, at)
    if model.missing_label != "unknown" and model.task != "binary":
        raise source.error((*at, "missing_label"), f"a {model.task} model has no {model.missing_label} class", 'set it to "unknown"')
    _check_segments(source, model, at)
    for name in model.protected:
        if name not in model.segments:
            raise source.error((*at, "protected"), f"{name!r} is not watched", f"add {name!r} to `segments`")
    return model


_DERIVED: Final = ("length", "unknown_words", "norm", *(f"p{i}" for i in range(8)))  # columns of texts and vectors: `streams.derived`
LONGEST_VECTOR: Final = 4_096  # that an event may have


def _check_features(source: Source, model: Model, at: Key) -> None:
    """Features whose columns have the names of others, vectors that no event can carry, and ranges and domains of no feature of theirs."""
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
    for key, wanted in (("ranges", "numeric"), ("domains", "categorical")):
        for name in getattr(model, key) if model.features else ():
            kind = "numeric" if name in derived else model.features.get(name, "")
            if name.startswith("("):  # the model's own columns
                continue
            if not kind:
                raise source.error((*at, key, name), f"{name!r} is none of the features", _nearest(name, tuple(model.features)))
            if kind != wanted:
                raise source.error((*at, key, name), f"{name!r} is {kind}, and {key} are of {wanted} features", f"take it out of `{key}`")


def _check_segments(source: Source, model: Model, at: Key) -> None:
    parts = [part for name in model.segments for part in name.split("+")]
    for name in model.segments:
        if "" in name.split("+") or len(set(name.split("+"))) < len(name.split("+")):
            raise source.error((*at, "segments"), f"{name!r} is no combination of names", 'join different names by "+": "region+plan"')
    for name in model.known_values:
        if name not in parts:
            raise source.error((*at, "known_values", name), f"{name!r} is not watched", f"add {name!r} to `segments`")


def _check_metrics(source: Source, model: Model, at: Key) -> None:
    names = METRICS[model.task]
    for key in ("metrics", "judged"):
        for name in getattr(model, key):
            if name not in names:
                raise source.error((*at, key), f"{name!r} is no metric of a {model.task} model", _nearest(name, names))
            if model.task == "multiclass" and name in OF_CHANCES and not 0 < len(model.classes) <= MOST_CHANCES:
                fix = f'name them, {MOST_CHANCES} at most: classes = ["…", "…"]'
                raise source.error((*at, key), f"{name!r} needs the probability of every class, and `classes` does not name them", fix)


def parse_duration(text: str) -> int:
    """Milliseconds in a duration; raises `ValueError` for anything that is not one.

    >>> parse_duration("90s"), parse_duration("15m"), parse_duration("7d")
    (90000, 900000, 604800000)
    """
    match = re.fullmatch(r"([0-9]{1,12})(ms|[smhd])", text)
    if not match:
        raise ValueError(f"{text!r} is not a duration")
    return int(match[1]) * _UNIT_MS[match[2]]


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed TOML file, and the line on which each of its keys stands. A key is a path: `("windows", 0, "length")`."""

    file: str
    content: dict[str, Any]
    lines: Mapping[Key, int]

    def error(self, key: Key, problem: str, fix: str) -> ConfigurationError:
        """A mistake at `key`; a key without a line of its own stands on that of the table around it."""
        line = next((self.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.lines), None)
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        return ConfigurationError(self.file, line, path, problem, fix)

    def struct(self, kind: type[S], at: Key = ()) -> S:
        """The table `at` as a `kind`; raises `ConfigurationError` for the first key that is unknown, missing or wrong."""
        content: Any = self.content
        for n, part in enumerate(at):
            if isinstance(part, str) and part not in self._table(content, at[:n]):
                raise self.error(at[: n + 1], "a required table is missing", f"write [{'.'.join(map(str, at))}] and its keys below")
            content = content[part]
        content = self._table(content, at)
        known = {field.name.removesuffix("_ms"): field for field in fields(kind)}
        for name in content:
            if name not in known:
                tables = [table for table, field in known.items() if _is_struct(field.type) and name in field.type.__struct_fields__]
                fix = f"write it below [{'.'.join(map(str, (*at, tables[0])))}]" if tables else _nearest(name, known)
                raise self.error((*at, name), "unknown key", fix)
        for name, field in known.items():
            if field.required and name not in content:
                raise self.error((*at, name), "a required key is missing", f'add {name} = "…"')
        return kind(**{known[name].name: self._field(known[name], content[name], (*at, name)) for name in content})

    def _field(self, field: FieldInfo, value: Any, at: Key) -> Any:
        """One key's value, as its field holds it."""
        inner = get_args(field.type)
        if field.name.endswith("_ms"):
            return self._value(field.type, self._duration(value, at), at)
        if get_origin(field.type) is tuple and _is_struct(inner[0]):
            several = value if value == [] and field.default == () else self._several(value, at)
            return tuple(self.struct(inner[0], (*at, i)) for i, _ in enumerate(several))
        if get_origin(field.type) is dict:
            return {
                self._value(inner[0], name, at): self._value(inner[1], item, (*at, name)) for name, item in self._table(value, at).items()
            }
        structs = [kind for kind in (field.type, *inner) if _is_struct(kind)]
        if structs and (isinstance(value, dict) or not inner):
            return self.struct(structs[0], at)
        return self._value(field.type, value, at)

    def _table(self, value: Any, at: Key) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(at, "this must be a table", f"write [{'.'.join(map(str, at))}] on a line of its own, and its keys below")
        return value

    def _several(self, value: Any, at: Key) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise self.error(at, "at least one is needed", f"write [[{at[-1]}]] on a line of its own, its keys below; once for each")
        return value

    def _duration(self, value: Any, at: Key) -> int:
        try:
            return parse_duration(value)
        except (TypeError, ValueError):
            raise self.error(at, f"{value!r} is not a duration", _DURATION_FIX) from None

    def _value(self, kind: Any, value: Any, at: Key) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            options = get_args(kind)
            if get_origin(kind) is Literal and isinstance(value, str):
                raise self.error(at, f"{value!r} is not one of {', '.join(options)}", _nearest(value, options)) from None
            if kind == FeatureType and isinstance(value, str):
                names = ("numeric", "categorical", "text", "embedding:DIM")
                raise self.error(at, f"{value!r} is not one of {', '.join(names)}", _nearest(value, names)) from None
            raise self.error(at, str(error).replace("`", "").lower(), _wanted(kind)) from None


def read_toml(file: Path) -> Source:
    """Parse a file; raises `ConfigurationError` with the line when it cannot be read or is not TOML."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            str(file), None, "", f"cannot be read: {error}", "give a TOML file in UTF-8 that this user may read"
        ) from error
    try:
        return Source(str(file), tomllib.loads(text), dict(_lines(text)))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        problem = str(error)[: place.start()] if place else str(error)
        fix = "correct the TOML: key = value, text in quotes, tables in [brackets], each key once"
        raise ConfigurationError(str(file), line, "", f"this is not TOML: {problem[:1].lower()}{problem[1:]}", fix) from error


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _lines(text: str) -> Iterator[tuple[Key, int]]:
    """Every key and table of a valid document with the line on which its statement begins.

    >>> dict(_lines('model = "m"\\n[[windows]]\\nlength = "1h"\\n'))[("windows", 0, "length")]
    3
    """
    table: Key = ()
    arrays: Counter[Key] = Counter()
    statement, begin = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        begin = number if not statement else begin
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # an array or a text goes on on the next line
        keys = list(_keys(parsed))
        if statement.lstrip().startswith("["):
            table = keys[-1]
            if table[-1] == 0:  # a header in double brackets: the next element of its array
                table = (*table[:-1], arrays[table])
                arrays[keys[-1]] += 1
            yield table, begin
        else:
            yield from ((table + key, begin) for key in keys)
        statement = ""


def _keys(value: Any, prefix: Key = ()) -> Iterator[Key]:
    """Every path into nested tables and arrays, the outer ones first."""
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        yield (*prefix, key)
        yield from _keys(item, (*prefix, key))


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(names)}"


def _wanted(kind: Any) -> str:
    """What a value of this type looks like in TOML, for the fix of an error."""
    bounds = ""
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
        words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        bounds = " " + " and ".join(f"{word} {getattr(meta, name):g}" for name, word in words.items() if getattr(meta, name) is not None)
    if kind is int:
        return f"give a whole number{bounds}"
    if kind is float:
        return f"give a number{bounds}"
    if kind is datetime:
        return "write a date, a time and a time zone, without quotes: 2026-12-24T00:00:00Z"
    if get_args(kind) == (float, float):
        return "give the lowest and the highest: [0, 120]; inf is no bound"
    if get_origin(kind) is tuple:
        return 'give a list of texts: ["region", "plan"]'
    return "give a text in quotes, not empty and without control characters"
