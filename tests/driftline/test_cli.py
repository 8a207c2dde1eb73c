"""The frame around the commands: what is loaded, what is printed where, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driftline import cli

COMMANDS = Path(cli.__file__).parent / "commands"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The outcome of Python code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=False)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown and purpose in shown for name, purpose in cli.COMMANDS.items())


def test_every_command_has_a_module_and_every_module_is_a_command() -> None:
    assert {path.stem for path in COMMANDS.glob("*.py")} - {"__init__"} == set(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    assert f"Usage: driftline {name}" in capsys.readouterr().out


def test_help_loads_no_library_of_numbers_or_streams() -> None:
    heavy = ("numpy", "faust", "scipy", "pandas", "rich", "confluent_kafka", "clickhouse_connect")
    show = f"print([name for name in {heavy} if name in sys.modules])"
    outcome = python(f"import sys; from driftline import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n{show}")
    assert outcome.stdout.splitlines()[-1] == "[]", outcome.stderr


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["topic"])
    assert "Did you mean 'topics'?" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == "0.1.0\n"


def test_a_mistake_prints_its_fix_and_no_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLINE_KAFKA", raising=False)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["topics"])
    assert capsys.readouterr() == (
        "",
        "error [settings] DRIFTLINE_KAFKA is not set\n  fix: set it to the address of a broker, for example localhost:9092\n",
    )


@pytest.mark.parametrize(("missing", "extra"), [("typer", "worker"), ("rich", "worker")])
def test_a_missing_package_names_the_extra(missing: str, extra: str) -> None:
    outcome = python(f"import sys; sys.modules[{missing!r}] = None\nfrom driftline import cli\ncli.main(['topics', '--check'])")
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert f"this needs the package '{missing}'\n  fix: pip install 'driftline[{extra}]'" in outcome.stderr
