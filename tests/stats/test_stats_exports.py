"""What `driftline.streams.stats` offers, and what it must not cost."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from typing import get_args

import pytest

from driftline.schemas.config import TestName
from driftline.streams import stats
from driftline.streams.stats import TESTS

MODULES = [module.name for module in pkgutil.iter_modules(stats.__path__)]


def test_the_exports_are_exactly_the_public_names() -> None:
    public = {name for name, what in vars(stats).items() if not name.startswith("_") and not inspect.ismodule(what)}
    assert set(stats.__all__) == public
    assert len(stats.__all__) == len(public)


def test_every_drift_test_is_exported_under_its_name_and_a_models_file_can_name_it() -> None:
    assert sorted(set(TESTS) - set(stats.__all__)) == [], "import it in streams/stats/__init__.py and list it in __all__"
    assert sorted(get_args(TestName)) == sorted(TESTS), "name it in TestName of schemas/config.py"


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    # A function may bear its module's name, so the attribute of the package is not always the module.
    importlib.import_module(f"{stats.__name__}.{module}")
    result = doctest.testmod(sys.modules[f"{stats.__name__}.{module}"])
    assert result.failed == 0


def test_importing_the_statistics_does_not_import_the_slow_parts_of_scipy() -> None:
    code = "import sys, driftline.streams.stats; print({'scipy.stats', 'scipy.optimize', 'pandas', 'sklearn'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "set()"
