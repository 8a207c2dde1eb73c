"""Memory from the system: taken before it is needed, and given back when there is too much of it.

The first touch of a page costs a system microseconds, and on a virtual machine that gets its memory from the host as it goes, ten times as
many: a worker that begins with a backlog would spend a fifth of its time on it. And chunks of megabytes come and go in several
threads, and between them small things that stay: glibc keeps what was freed around those, so a worker that has worked off a backlog would
hold several times what it needs.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from driftline.schemas.errors import DriftlineError

MIB = 2**20
_ARENAS, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3  # of malloc.h
_LARGEST_IN_HEAP = 32 * MIB  # glibc allows no more


def share_heap() -> bool:
    """Let all threads use one heap, as none would find the reserve in another; whether they do. Call it before any thread begins,
    and NumPy begins some when it is imported.

    >>> share_heap() in (True, False)
    True
    """
    return bool((libc := _glibc()) and libc.mallopt(_ARENAS, 1))


class Allocator:
    """What a process does about its memory; nothing where the C library is not glibc.

    >>> allocator = Allocator()
    >>> allocator.trim() in (True, False)
    True
    """

    def __init__(self) -> None:
        self._libc = _glibc()
        self._reserve, self._floor = 0, 0

    def reserve(self, size: int) -> None:
        """Take `size` bytes now, which `share_heap` lets every thread use, and keep as much when it is free again.

        Raises `DriftlineError` where the system does not give them.
        """
        if not self._libc or not size:
            return
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())
        libc, self._reserve, self._floor = self._libc, size, resident()
        for setting, value in ((_MMAP_THRESHOLD, _LARGEST_IN_HEAP), (_TRIM_THRESHOLD, 2**31 - 1)):
            libc.mallopt(setting, value)
        libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        taken = [place for _ in range(min(size, there) // MIB) if (place := libc.malloc(MIB))]
        if len(taken) == size // MIB:
            for place in taken:
                ctypes.memset(place, 1, MIB)
        for place in taken:
            libc.free(place)
        if len(taken) < size // MIB:
            told = f"the system gave {len(taken)} MiB of the {size // MIB} MiB that a worker takes at its start"
            raise DriftlineError("no_memory", told, "let it have more, or start it with a smaller `--reserve`")

    def trim(self) -> bool:
        """Give back what is free, unless that is less than twice the reserve; whether there was any."""
        if not self._libc or (self._reserve and resident() - self._floor <= 2 * self._reserve):
            return False
        given = bool(self._libc.malloc_trim(0))
        self._floor = resident()
        return given


def _glibc() -> ctypes.CDLL | None:
    return libc if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim") else None


def resident() -> int:
    """Bytes of memory that this process has, on Linux.

    >>> resident() > 0 or sys.platform != "linux"
    True
    """
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0
