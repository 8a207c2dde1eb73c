"""Model files: what is read, and what is said about every kind of mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import DAY_MS, HOUR_MS, MINUTE_MS, Model, Policy, Window
from driftline.schemas.errors import ConfigurationError
from driftline.schemas.load import load_model, load_models, model_from, parse_duration, read_toml
from driftline.story import CHURN

EXAMPLE = Path(__file__).parents[2] / "examples/models/churn.toml"

Mistake = Callable[[str], ConfigurationError]


@pytest.fixture
def mistake(tmp_path: Path) -> Mistake:
    """The error that a file with this text gives."""

    def of(text: str) -> ConfigurationError:
        file = tmp_path / "m.toml"
        file.write_text(text, "utf-8")
        with pytest.raises(ConfigurationError) as caught:
            load_model(file)
        assert caught.value.file == str(file)
        assert caught.value.fix
        return caught.value

    return of


def test_the_example_is_the_model_of_the_demo() -> None:
    assert load_model(EXAMPLE) == msgspec.structs.replace(CHURN, max_wait_ms=Model("m").max_wait_ms)


def test_the_example_shows_every_key_there_is() -> None:
    content = tomllib.loads(EXAMPLE.read_text("utf-8"))
    for kind, table in ((Model, content), (Policy, content["policy"]), (Window, content["windows"][0])):
        assert set(table) == {name.removesuffix("_ms") for name in kind.__struct_fields__}


def test_a_name_is_enough(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('model = "m"')
    assert load_model(tmp_path / "m.toml") == Model("m")


@pytest.mark.parametrize(
    ("text", "line", "path", "problem", "fix"),
    [
        ('model = "m"\n\ntsk = "binary"', 3, "tsk", "unknown key", "did you mean 'task'?"),
        ('model = "m"\n[policy]\n# a comment\npssi = 1', 4, "policy.pssi", "unknown key", "did you mean 'psi'?"),
        ('model = "m"\npsi = 0.3', 2, "psi", "unknown key", "write it below [policy]"),
        ('model = "m"\nzzz = 1', 2, "zzz", "unknown key", "use one of model, task"),
        ('model = "m"\npane_ms = 60000', 2, "pane_ms", "unknown key", "did you mean 'pane'?"),
        ('task = "binary"', None, "model", "a required key is missing", "add model = …: give a text"),
        (
            'model = "m"\ntask = "multiclass"\nmetrics = ["log_loss"]',
            3,
            "metrics",
            "needs the probability of every class",
            "name them, 64 at most",
        ),
        ('model = "m"\ntask = "binray"', 2, "task", "'binray' is not one of binary", "did you mean 'binary'?"),
        ('model = "m"\ntask = 1', 2, "task", "1 does not fit", "one of binary, multiclass"),
        ('model = ""', 1, "model", "an empty text", "not empty"),
        ('model = "a\\u0000b"', 1, "model", "does not fit", "control characters"),
        ('model = "m"\npane = 60', 2, "pane", "60 is not a duration", '"15m"'),
        ('model = "m"\npane = "1 hour"', 2, "pane", "'1 hour' is not a duration", '"15m"'),
        ('model = "m"\npane = "0s"', 2, "pane", "'0s' is too short", "give 1ms to 10000d"),
        ('model = "m"\n[features]\na = "numeric"\nb = "number"', 4, "features.b", "'number' is not one of", "did you mean 'numeric'?"),
        ('model = "m"\n[features]\n"" = "numeric"', 2, "features", "an empty text", "not empty"),
        ('model = "m"\nfeatures = ["a"]', 2, "features", "this must be a table", "[features]"),
        ('model = "m"\npolicy = 3', 2, "policy", "this must be a table", "[policy]"),
        ('model = "m"\n[policy]\npsi = "high"', 3, "policy.psi", "'high', a text,", "a number above 0"),
        ('model = "m"\nranges.age = ["0"]', 2, "ranges.age", "a list does not fit", "the lowest and the highest"),
        ('model = "m"\nbaselines = ["yesterday"]', 2, "baselines[0]", "'yesterday', a text,", "trailing:7d"),
        ('model = "m"\n[edges]\nage = "some"', 3, "edges.age", "'some', a text,", '"6, 12, 24"'),
        (
            'model = "m"\n[[exclude]]\nbegin = 2026-12-24T00:00:00\nend = 2026-12-25T00:00:00Z\nwhy = "x"',
            3,
            "exclude[0].begin",
            "does not fit",
            "a time zone",
        ),
        ('model = "m"\n[policy]\npsi = nan', 3, "policy.psi", "nan does not fit", "a number above 0"),
        ('model = "m"\n[policy]\nmin_coverage = 50', 3, "policy.min_coverage", "50 does not fit", "at least 0 and at most 1"),
        ('model = "m"\nsegments = [\n  "a",\n  7,\n]', 2, "segments[1]", "7 does not fit", "a text in quotes"),
        ('model = "m"\nsegments = ["a+a"]', 2, "segments", "no combination", "region+plan"),
        ('model = "m"\nsegments = ["a"]\n[known_values]\nb = ["x"]', 4, "known_values.b", "not watched", "add 'b'"),
        ('model = "m"\nsegments = ["a"]\nsegment_values = 2000', 2, "segments", "2000 cells", "lower `segment_values`"),
        ('model = "m"\n[features]\nt = "text"\n"t.length" = "numeric"', 4, "features.t.length", "made of 't'", "rename it"),
        ('model = "m"\n[features]\nv = "embedding:5000"', 3, "features.v", "4096 numbers at most", "publish fewer"),
        ('model = "m"\nfeatures.age = "numeric"\n[ranges]\nagee = [0, 9]', 4, "ranges.agee", "none of the features", "'age'?"),
        ('model = "m"\nfeatures.age = "numeric"\n[domains]\nage = ["a"]', 4, "domains.age", "'age' is numeric", "take it out"),
        ('model = "m"\n[[windows]]\nlength = "1h"\nevery = "2h"', 4, "windows[0].every", "leave gaps", "at most `length`"),
        ('model = "m"\n[[windows]]\n[[windows]]\nlength = "90s"', 4, "windows[1].length", "no multiple of the pane", "60 s"),
        ('model = "m"\npane = "7m"', None, "windows[0].length", "no multiple of the pane", "420 s"),
        ('model = "m"\nwindows = [{ lenght = "1h" }]', 2, "windows[0].lenght", "unknown key", "did you mean 'length'?"),
        ('model = "m"\nlabels = "false"', 2, "labels", "'false', a text,", "true or false, without quotes"),
        ('model = "m"\narchive = 2', 2, "archive", "2 does not fit", "off, all, in quotes; or give a number at least 0 and at most 1"),
        ('model = "m"\ntests = ["pssi"]', 2, "tests[0]", "'pssi' is not one of psi", "did you mean 'psi'?"),
        ('model = "m"\nwindows = "1h"', 2, "windows", "must be tables", "[[windows]]"),
        ('model = "m"\n[[exclude]]\nend = 2026-12-25T00:00:00Z\nwhy = "x"', 2, "exclude[0].begin", "required key", "a time zone"),
        ('model = "m"\n[policy]\npsi = 0.3\ntests = ["psi"]', 4, "policy.tests", "unknown key", "write it above the first table"),
        ('model = "m"\n[features]\na = "numeric"\ntask = "regression"', 4, "features.task", "'regression'", "model's own `task`"),
        ('model = "m"\n[[windows]]\nlength = "1h"\nchampion = "7"', 4, "windows[0].champion", "unknown key", "above the first table"),
        ('model = "m"\nfeatures.age = "numeric"\n[edges]\nagee = "doane"', 4, "edges.agee", "none of the features", "'age'?"),
        ('model = "m"\nfeatures.plan = "categorical"\n[edges]\nplan = "doane"', 4, "edges.plan", "'plan' is categorical", "take it out"),
        ('model = "m"\n[edges]\n"(score)" = "doane"', 3, "edges.(score)", "no edges of its own", "take it out"),
        ('model = "m"\n[ranges]\n"(scor)" = [0, 1]', 3, "ranges.(scor)", "no ranges of its own", "'(score)'?"),
        ('model = "m"\nedges.a = "1e999, 2"', 2, "edges.a", "1e999 is no finite number", "leave it out"),
        ('model = "m"\nedges.a = "6, 3, 3"', 2, "edges.a", "do not ascend", 'write "3, 6"'),
        ('model = "m"\ndomains.p = []', 2, "domains.p", "no value is named", "at least one"),
        ('model = "m"\ndomains.p = ["a", "a"]', 2, "domains.p", "'a' stands there twice", "once"),
        ('model = "m"\nsegments = ["a", "a"]', 2, "segments", "'a' stands there twice", "once"),
        ('model = "m"\nsegments = ["a+b", "b+a"]', 2, "segments", "same cells as 'a+b'", "one of the two"),
        ('model = "m"\nsegments = ["region", "regoin+plan"]', 2, "segments", "'regoin' in 'regoin+plan'", "did you mean 'region'?"),
        ('model = "m"\nsegments = ["a"]\nknown_values.a = ["(other)"]', 3, "known_values.a", "that are not named", "there by itself"),
        ('model = "m"\nsegments = ["region"]\nprotected = ["regin"]', 3, "protected", "not watched", "did you mean 'region'?"),
        ('model = "m"\nbaselines = []', 2, "baselines", "compared with nothing", '["training"]'),
        ('model = "m"\nbaselines = ["trailing:5m"]', 2, "baselines[0]", "no window lies within 5m", "longer than a window"),
        (
            'model = "m"\n[[exclude]]\nbegin = 2026-12-24T00:00:00Z\nend = 2026-12-24T00:00:00Z\nwhy = "x"',
            4, "exclude[0].end", "ends before it begins", "later than `begin`",
        ),
        ('model = "m"\ncosts."1-0" = 5', 2, "costs.1-0", "no pair", '"1/0"'),
        ('model = "m"\nclasses = ["0", "1"]\ncosts."1/o" = 5', 3, "costs.1/o", "that `classes` does not", "did you mean"),
        ('model = "m"\ntask = "regression"\ncosts."1/0" = 5', 3, "costs.1/0", "no classes", "take [costs] out"),
        ('model = "m"\n[[windows]]\n[[windows]]', 3, "windows[1]", "such windows already", "take one"),
        (
            f'model = "m"\ntask = "multiclass"\nclasses = {[str(i) for i in range(65)]}\nmetrics = ["all"]',
            4, "metrics", "names 65; 64 are the most", "need none",
        ),
        ('model = "m"\nwindows = []', 2, "windows", "at least one is needed", "[[windows]]"),
        ('model = "m"\ntask = binary', 2, "", "this is not TOML: invalid value", "text in quotes"),
        ('model = "m"\nmodel = "n"', 2, "", "this is not TOML: cannot overwrite", "each key once"),
        ('model = "m"\nsegments = [', 2, "", "this is not TOML", "correct the TOML"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_its_key_and_its_fix(
    mistake: Mistake, text: str, line: int | None, path: str, problem: str, fix: str
) -> None:
    error = mistake(text)
    assert (error.line, error.path) == (line, path)
    assert problem in error.problem
    assert fix in error.fix


@pytest.mark.parametrize("segments", ['["region", "region+plan"]', '["city1", "city2+plan"]', '["region", "regions", "regions+plan"]'])
def test_names_that_are_alike_and_meant_to_be_are_no_mistake(tmp_path: Path, segments: str) -> None:
    (tmp_path / "m.toml").write_text(f'model = "m"\nsegments = {segments}')
    assert load_model(tmp_path / "m.toml").segments


def test_a_file_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_bytes(b'model = "\xff"')
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_model(tmp_path / "m.toml")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_model(tmp_path / "m.toml")


def test_a_directory_gives_its_models_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('model = "churn"')
    (tmp_path / "b.toml").write_text('model = "fraud"')
    (tmp_path / "notes.txt").write_text("not a model")
    assert load_models(tmp_path) == {"churn": Model("churn"), "fraud": Model("fraud")}


def test_one_model_in_two_files_is_a_mistake_of_the_second(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('model = "churn"')
    (tmp_path / "b.toml").write_text('task = "binary"\nmodel = "churn"')
    with pytest.raises(ConfigurationError, match=r"b\.toml:2: model: 'churn' is the model of a\.toml already"):
        load_models(tmp_path)


@pytest.mark.parametrize(("name", "problem"), [("", "holds no"), ("nowhere", "is not a directory")])
def test_a_directory_without_models_is_a_mistake(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_models(tmp_path / name)


def test_a_model_can_stand_in_a_table_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('file = "x.csv"\n[model]\nmodel = "m"\n[[model.windows]]\nlength = "90s"\nevery = "1m"')
    source = read_toml(tmp_path / "m.toml")
    with pytest.raises(ConfigurationError, match=r"m\.toml:5: model\.windows\[0\]\.length"):
        model_from(source, ("model",))


def test_a_table_of_another_file_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('file = "x.csv"')
    with pytest.raises(ConfigurationError, match="model: a required table is missing"):
        model_from(read_toml(tmp_path / "m.toml"), ("model",))


durations = st.sampled_from([0, 1, 999, 90_000, MINUTE_MS, 7 * HOUR_MS, 30 * DAY_MS]).filter(bool)


@given(st.integers(0, 10**12 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * parse_duration(f"1{unit}")


@given(st.text(max_size=6))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert repr(text) in str(error)


@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=32, exclude_characters='\x7f"\\', exclude_categories=["Cs"]), min_size=1, max_size=200),
        st.sampled_from(["numeric", "categorical"]),
    ),
    durations,
    st.integers(1, 50),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, features: dict[str, str], pane: int, factor: int
) -> None:
    names = "\n".join(f'"{name}" = "{kind}"' for name, kind in features.items())
    file = tmp_path_factory.mktemp("m") / "m.toml"
    file.write_text(
        f'model = "m"\npane = "{pane}ms"\n[[windows]]\nlength = "{pane * factor}ms"\nevery = "{pane}ms"\n[features]\n{names}', "utf-8"
    )
    expected = Model("m", features=msgspec.convert(features, dict), windows=(Window(pane * factor, pane),), pane_ms=pane)
    assert load_model(file) == expected


def test_time_to_leave_out_and_edges_are_read(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        'model = "m"\nbaselines = ["training", "trailing:7d", "version:6"]\n[edges]\nage = "18, 30.5"\n"*" = "quantile:20"\n'
        '[[exclude]]\nbegin = 2026-12-24T00:00:00Z\nend = 2026-12-27T00:00:00+01:00\nwhy = "Christmas"\n'
    )
    model = load_model(tmp_path / "m.toml")
    assert model.edges == {"age": "18, 30.5", "*": "quantile:20"}
    christmas = model.exclude[0]
    assert christmas.why == "Christmas"
    at = 1_766_530_800_000 + 365 * 86_400_000  # 2026-12-23 23:00 UTC
    assert [christmas.touches(start, start + 3_600_000) for start in (at, at + 3_600_000, at + 72 * 3_600_000)] == [False, True, False]
