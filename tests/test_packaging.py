"""What is installed: the folder map, the light SDK, the examples in the docstrings, what modules say they export."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
HEAVY = ("faust", "mode", "aiokafka", "chdb", "clickhouse_connect", "pandas", "pyarrow", "numpy", "scipy", "typer", "rich")


def folder_of(package: str) -> Path:
    """Where the map puts a package."""
    top = max((name for name in FOLDERS if f"{package}.".startswith(f"{name}.")), key=len)
    return ROOT / FOLDERS[top] / package.removeprefix(top).replace(".", "/").lstrip("/")


MODULES = sorted(
    f"{package}.{module.name}" for package in PACKAGES for module in pkgutil.iter_modules([str(folder_of(package))]) if not module.ispkg
)


def python(code: str, executable: str = sys.executable) -> str:
    """What Python code prints in a process of its own."""
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run([executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment).stdout


def test_every_package_folder_is_in_the_map() -> None:
    found = {
        ".".join((package, *init.parent.relative_to(ROOT / folder).parts))
        for package, folder in FOLDERS.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(PACKAGES)


def test_every_module_of_the_core_is_under_its_import_contract() -> None:
    contracts = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
    listed = contracts["the core knows no stream, no store and no clock"]["source_modules"]
    modules = {name for name in MODULES if name.startswith("driftline.streams.") and name.count(".") == 2}
    assert set(listed) == modules - {"driftline.streams.status", "driftline.streams.topology", "driftline.streams.worker"} | {
        "driftline.streams.kernels",
        "driftline.streams.stats",
    }


@pytest.mark.parametrize("name", [name for name in (*PACKAGES, *MODULES) if ".stats." not in name])  # those in tests/stats
def test_the_examples_in_the_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", [*PACKAGES, *MODULES])
def test_what_a_module_exports_is_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert [attribute for attribute in exported if not hasattr(module, attribute)] == []


def test_the_publisher_loads_nothing_heavy() -> None:
    loaded = python(f"import sys, driftline; driftline.Publisher; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]\n"


@pytest.fixture(scope="module")
def plain_install(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with `pip install .` in it and nothing else; its directory of programs."""
    home = tmp_path_factory.mktemp("plain") / "venv"
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    programs = home / Path(sysconfig.get_path("scripts")).name
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, home], check=True, timeout=60)
    install: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        programs / "python",
        "--constraint",
        ROOT / "constraints.txt",
        str(ROOT),
    ]
    subprocess.run(install, check=True, timeout=120)
    return programs


def test_a_plain_install_is_the_sdk_and_nothing_heavy(plain_install: Path) -> None:
    code = "import importlib.metadata as m, driftline; driftline.Publisher; print(sorted(d.name for d in m.distributions()))"
    assert python(code, str(plain_install / "python")) == "['confluent-kafka', 'driftline', 'msgspec']\n"


def test_a_plain_install_has_every_file_of_the_packages(plain_install: Path) -> None:
    root = Path(python("import driftline; print(driftline.__file__)", str(plain_install / "python")).strip()).parent
    installed = {str(file.relative_to(root)) for file in root.rglob("*.*") if file.suffix != ".pyc"}
    expected = {
        str(Path(*package.split(".")[1:], file.name)) for package in PACKAGES for file in folder_of(package).iterdir() if file.is_file()
    }
    assert installed == expected


def test_the_command_of_a_plain_install_names_the_extra(plain_install: Path) -> None:
    outcome = subprocess.run([plain_install / "driftline"], capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode == 2
    assert "pip install 'driftline[worker]'" in outcome.stderr


#: What an interpreter says of itself, and whether the environment may be made with it while there is another.
INTERPRETERS = [
    ("sys.base_prefix = '/opt'; sysconfig.get_config_var = lambda _: \"'--with-lto' '--enable-optimizations'\"", True),
    ("sys.base_prefix = '/usr'; sysconfig.get_config_var = lambda _: \"'--enable-shared'\"", True),
    ("sys.base_prefix = '/opt'; sysconfig.get_config_var = lambda _: \"'--enable-shared'\"", False),
    ("sys.base_prefix = '/opt'; sysconfig.get_config_var = lambda _: None", False),
    ("sys.base_prefix = '/usr'; sys.version_info = (3, 10, 9)", False),
    ("sys.base_prefix = '/usr'; sys.modules['ensurepip'] = None", False),
    ("sys.exit(127)", False),
]


@pytest.mark.parametrize(("about", "fits"), INTERPRETERS)
def test_the_environment_is_made_with_an_interpreter_that_is_new_whole_and_optimised(about: str, fits: bool, tmp_path: Path) -> None:
    told, other = (_interpreter(tmp_path / name, about) for name, about in [("told", about), ("other", INTERPRETERS[0][0])])
    assert _chosen(told, other) == (told if fits else other)


def test_where_no_interpreter_fits_the_environment_is_made_with_the_first(tmp_path: Path) -> None:
    slow = [_interpreter(tmp_path / name, INTERPRETERS[2][0]) for name in ("first", "second")]
    assert _chosen(*slow) == slow[0]


def _chosen(*interpreters: str) -> str:
    command = ["sh", str(ROOT / "scripts" / "interpreter.sh"), *interpreters]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _interpreter(path: Path, about: str) -> str:
    """One that says this of itself, and then runs what it is given by `-c`."""
    path.write_text(f"#!{sys.executable}\nimport sys, sysconfig\n{about}\nexec(sys.argv[2])\n", "utf-8")
    path.chmod(0o755)
    return str(path)
