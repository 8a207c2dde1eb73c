"""The command line: a table of commands, each imported only when it is called, so that `--help` costs no NumPy and no Faust.

Standard output is data, standard error is talk. A mistake that has a fix prints it and exits with status 2.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

import driftline
from driftline.schemas.errors import ConfigurationError, DriftlineError

#: Name → what it does. A command is `run` in the module of its name, or `app` where it has commands of its own.
COMMANDS: Final[dict[str, str]] = {
    "demo": "Watch a seeded story unfold, offline, in this terminal.",
    "replay": "Run a file of predictions and labels through the pipeline.",
    "worker": "Read the streams, write results, send alerts.",
    "topics": "Create the topics, and check those that exist.",
    "migrate": "Bring the tables of the store up to date.",
    "reference": "Build or show what a model version is compared with.",
    "compare": "Compare two files of rows, with no stream and no store.",
    "sql": "Ask the store.",
    "report": "Write a page with pictures of what the store holds.",
    "generate": "Play the seeded story against a running Kafka.",
}

#: Packages that come with an extra other than `worker`.
_EXTRA_OF: Final = {"chdb": "embedded", "sklearn": "examples"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; `argv` without the program's name.

    Exit status: 0 done; 1 the command looked and found problems; 2 it could not run, and the message says what to change.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _program(arguments[0] if arguments else "")(arguments)
    except (ConfigurationError, DriftlineError) as error:
        _stop(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", driftline.__name__}:
            raise
        extra = _EXTRA_OF.get(package, "worker")
        _stop(f"this needs the package {package!r}\n  fix: pip install 'driftline[{extra}]'")


def _program(called: str) -> Callable[[list[str]], object]:
    """The whole command line, with the module of the `called` command loaded and a line of help for each of the others."""
    import typer

    if called == "worker":
        from driftline.streams.allocator import share_heap

        share_heap()  # before the module is loaded, and NumPy with it: threads that it begins have a heap of their own

    app = typer.Typer(
        help="Machine-learning monitoring on event streams.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True, callback=_version),
    ) -> None:
        pass

    for name, purpose in COMMANDS.items():
        module = importlib.import_module(f"driftline.commands.{name}") if name == called else None
        if module is None:
            app.command(name, help=purpose)(_not_loaded)
        elif hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=purpose)
        else:
            app.command(name, help=module.run.__doc__ or purpose)(module.run)
    return lambda arguments: app(args=arguments, prog_name="driftline")


def _version(wanted: bool) -> None:
    if wanted:
        print(driftline.__version__)
        raise SystemExit


def _not_loaded() -> None:
    raise AssertionError("only the command that was called is loaded, and this one was not")


def _stop(message: str) -> None:
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[31merror\x1b[0m {message}" if coloured else f"error {message}", file=sys.stderr)
    raise SystemExit(2)
