"""An environment for each library that driftline is compared with: their requirements contradict each other, and ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: The versions that were measured, with what they need to run at all.
PEERS = {
    "evidently": ["evidently==0.7.23", "pandas<3"],
    "frouros": ["frouros==0.9.0"],
    "nannyml": ["nannyml==0.13.1", "pandas<3", "statsmodels<0.15", "setuptools<81"],
    "river": ["river==0.26.1", "numpy", "scipy"],
    "whylogs": ["whylogs[viz]==1.6.4", "numpy<2", "pandas<3", "setuptools<81"],
}


def python_of(peer: str, *also: str) -> Path:
    """The interpreter of a peer's environment, which is made the first time. `also` names packages that a benchmark needs beside it.

    Raises `subprocess.CalledProcessError` where the packages cannot be installed.
    """
    wanted = [*PEERS[peer], *also]
    home = ROOT / ".cache" / "bench" / "-".join([peer, *(name.split("=")[0] for name in also)])
    done, python = home / "installed", home / "bin" / "python"
    made = [sys.version, *wanted]  # with our own interpreter: another build of it may be half as quick again
    if not done.exists() or done.read_text("utf-8") != "\n".join(made):
        print(f"· installing {peer} in an environment of its own (once)", file=sys.stderr, flush=True)
        uv = str(ROOT / ".venv" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
        done.write_text("\n".join(made), "utf-8")
    return python
