"""Compiles everything into the cache and ends: `python -m driftline.streams.kernels`."""

import fcntl
import os

from driftline.streams import kernels

os.nice(10)
with (kernels.directory() / "lock").open("w") as lock:  # of several workers that begin together one compiles
    fcntl.flock(lock, fcntl.LOCK_EX)
    kernels.load()
