"""Compiled code for what every event goes through, and when it is ready. Without it everything gives the same, slower.

It is compiled once for a version of this package and a machine, into a cache, by a process of its own: a worker starts without it and
goes on with it. Architecture invariant: nothing but speed depends on whether it is there.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import platform
import subprocess
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftline.streams.kernels.reader import Reader

log = logging.getLogger(__name__)
COMPILE_S = 600.0
_reader: Reader | None = None
_preparing = threading.Lock()


def current() -> Reader | None:
    """The compiled reader of events, once it is ready."""
    return _reader


def prepare() -> threading.Thread:
    """See in the background to it that compiled code is used from some moment on. May be called often."""
    thread = threading.Thread(target=_prepare, name="driftline-kernels", daemon=True)
    thread.start()
    return thread


def load() -> None:
    """Use compiled code from now on; compiles what is not in the cache, which takes half a minute."""
    global _reader
    with _preparing:
        if _reader is None:
            numba = importlib.import_module("numba")
            numba.config.CACHE_DIR = str(directory())
            _reader = importlib.import_module("driftline.streams.kernels.reader").Reader()
            (directory() / "complete").touch()


def unload() -> None:
    """Do without compiled code from now on."""
    global _reader
    _reader = None


def _prepare() -> None:
    try:
        if _reader is None and not (directory() / "complete").exists():
            environment = {**os.environ, "DRIFTLINE_KERNELS": str(directory())}
            subprocess.run([sys.executable, "-m", __name__], check=True, capture_output=True, timeout=COMPILE_S, env=environment)
        load()
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        log.warning("no_kernels: events are decoded without compiled code, several times slower: %s", error)


@lru_cache
def directory() -> Path:
    """Where compiled code is kept: by what it was made from, since numba looks at the file of a function only, not at those it calls."""
    made_of = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        made_of.update(file.read_bytes())
    made_of.update(f"{sys.version} {platform.machine()} {platform.processor()}".encode())
    path = _writable() / made_of.hexdigest()
    path.mkdir(parents=True, exist_ok=True)
    return path


def _writable() -> Path:
    """What lies here is run: a place that others can write to will not do."""
    if given := os.environ.get("DRIFTLINE_KERNELS"):
        return Path(given).parent
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "kernels"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="driftline-kernels-"))
