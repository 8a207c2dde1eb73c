"""What a figure was measured on, without names of hosts or paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("aiokafka", "chdb", "confluent-kafka", "faust-streaming", "msgspec", "numba", "numpy", "pandas", "pyarrow", "scipy")
WRITTEN = ("benchmarks/results", "README.md", "docs")  # by measurements


def machine() -> dict[str, str | int]:
    """Processor, cores, memory, system and the versions that matter."""
    known = {name: text for name in PACKAGES if (text := _version(name))}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version() + ("" if _is_optimised() else " (built without optimisations)"),
        "packages": ", ".join(f"{name} {text}" for name, text in known.items()),
        "driftline": _commit(),
    }


def _is_optimised() -> bool:
    """Whether the interpreter was built so. What distributions build is, though their configuration does not say it."""
    return sys.base_prefix == "/usr" or "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _commit() -> str:
    """The commit, "-dirty" where code has changed since. What a measurement itself writes is no change."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", *(f":(top,exclude){path}" for path in WRITTEN))
    return (_git("describe", "--always") or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    told = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return told.stdout.strip()
