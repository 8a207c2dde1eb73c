"""Read models from TOML, one file a model. Every mistake names its file, line and key, and how to put it right.

Keys are the fields of `config.Model`; a field that ends in `_ms` is written without the ending, as a duration: `pane = "1m"`.
"""

from __future__ import annotations

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

from driftline.schemas.checks import check, nearest
from driftline.schemas.config import Baseline, Bounds, EdgeRule, FeatureType, Model, Name
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
    check(source, model, at)
    return model


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
        table = key[-2] if len(key) > 1 else ""
        table = key[-3] if isinstance(table, int) else table
        if key and key[-1] in _OF_MODEL and table in _TABLES:  # the commonest slip of TOML
            fix += f"; if the model's own `{key[-1]}` is meant, write it above the first table: what stands below [{table}] belongs to that"
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
                fix = f"write it below [{'.'.join(map(str, (*at, tables[0])))}]" if tables else nearest(name, known)
                fix = "take it out of here" if at and at[0] in _TABLES and name in _OF_MODEL else fix
                raise self.error((*at, name), "unknown key", fix)
        for name, field in known.items():
            if field.required and name not in content:
                raise self.error((*at, name), "a required key is missing", f"add {name} = …: {_wanted(field.type)}")
        return kind(**{known[name].name: self._field(known[name], content[name], (*at, name)) for name in content})

    def _field(self, field: FieldInfo, value: Any, at: Key) -> Any:
        """One key's value, as its field holds it."""
        inner = get_args(field.type)
        if field.name.endswith("_ms"):
            return self._duration(field.type, value, at)
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
            problem = "at least one is needed" if value == [] else "these must be tables"
            raise self.error(at, problem, f"write [[{at[-1]}]] on a line of its own, its keys below; once for each")
        return value

    def _duration(self, kind: Any, value: Any, at: Key) -> int:
        try:
            length = parse_duration(value)
        except (TypeError, ValueError):
            raise self.error(at, f"{value!r} is not a duration", _DURATION_FIX) from None
        try:
            return int(msgspec.convert(length, kind))
        except msgspec.ValidationError:
            raise self.error(at, f"{value!r} is too {'long' if length else 'short'}", "give 1ms to 10000d") from None

    def _value(self, kind: Any, value: Any, at: Key) -> Any:
        options = get_args(kind)
        if get_origin(kind) is tuple and options[-1] is ... and isinstance(value, list):
            return tuple(self._value(options[0], item, (*at, i)) for i, item in enumerate(value))
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            names = options if get_origin(kind) is Literal else _FEATURE_TYPES if kind == FeatureType else ()
            if names and isinstance(value, str):
                raise self.error(at, f"{value!r} is not one of {', '.join(names)}", nearest(value, names)) from None
            raise self.error(at, f"{_shown(value)} does not fit here", _wanted(kind)) from None


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


def _shown(value: Any) -> str:
    """A value of a TOML file, in an error.

    >>> _shown("50"), _shown(True), _shown([1]), _shown(0.5)
    ("'50', a text,", 'true', 'a list', '0.5')
    """
    if isinstance(value, str):
        return f"{value!r}, a text," if value else "an empty text"
    if isinstance(value, bool):
        return str(value).lower()
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else str(value)


_FEATURE_TYPES: Final = ("numeric", "categorical", "text", "embedding:DIM")
_OF_MODEL: Final = frozenset(name.removesuffix("_ms") for name in Model.__struct_fields__)
_TABLES: Final = frozenset(
    field.name for field in fields(Model) if get_origin(field.type) is dict or any(map(_is_struct, (field.type, *get_args(field.type))))
)
_WANTED: Final[tuple[tuple[Any, str], ...]] = (
    (Name, "give a text in quotes, not empty, of 200 characters at most and without control characters"),
    (str, "give a text in quotes"),
    (bool, "write true or false, without quotes"),
    (datetime, "write a date, a time and a time zone, without quotes: 2026-12-24T00:00:00Z"),
    (Bounds, "give the lowest and the highest: [0, 120]; inf is no bound"),
    (EdgeRule, 'write "quantile:N" with N from 1 to 512, "doane", or the edges themselves, 64 at most: "6, 12, 24"'),
    (Baseline, 'write "training", "hour-of-week", or for instance "trailing:7d" or "version:6"'),
    (FeatureType, f"write one of {', '.join(_FEATURE_TYPES)}, in quotes"),
)


def _wanted(kind: Any) -> str:
    """What a value of this type looks like in TOML, for the fix of an error.

    >>> _wanted(Annotated[float, msgspec.Meta(ge=0, le=1)]), _wanted(tuple[Name, ...])
    ('give a number at least 0 and at most 1', 'give a list of texts: ["…", "…"]')
    """
    for known, words in _WANTED:
        if kind == known:
            return words
    bounds, inner = "", get_args(kind)
    if get_origin(kind) is Annotated:
        kind, meta = inner
        said = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        bounds = " and ".join(f"{word} {getattr(meta, name):.12g}" for name, word in said.items() if getattr(meta, name) is not None)
        if kind in (int, float):
            return f"give a {'whole ' * (kind is int)}number {bounds}"
        return _wanted(kind)
    if get_origin(kind) is tuple:
        return 'give a list of texts: ["…", "…"]'
    if get_origin(kind) is Literal:
        return f"write one of {', '.join(inner)}, in quotes"
    return "; or ".join(_wanted(each) for each in inner)
