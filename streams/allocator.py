"""Memory that is free again, given back to the system.

Chunks of megabytes come and go in several threads, and between them small things that stay: glibc keeps what was freed around those, so a
worker that has worked off a backlog would hold several times what it needs.
"""

from __future__ import annotations

import ctypes
import sys


def trim() -> bool:
    """Give whole pages that are free back; whether there were any. Does nothing where the C library is not glibc.

    >>> trim() in (True, False)
    True
    """
    give = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return bool(give and give(0))
