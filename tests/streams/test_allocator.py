"""Memory that is taken at the start: in a process of its own, since a heap is shared by all that runs in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are counted on Linux")

PROGRAM = """
import resource, sys, threading
from driftline.streams.allocator import MIB, Allocator, resident, share_heap

def faults(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def backlog():
    kept = [np.ones(MIB // 8) for _ in range(size)]

size, share = int(sys.argv[1]), int(sys.argv[2])
assert share_heap()
import numpy as np
import pyarrow

allocator, before = Allocator(), resident()
allocator.reserve(share * MIB)
reserved = resident() - before
touched = faults(backlog)
allocator.trim()
again = faults(backlog)
print(reserved // MIB, touched, again, (resident() - before) // MIB)
"""


def run(size: int, share: int) -> list[int]:
    """MiB that a reserve of `share` took, pages that a thread touched first with `size` MiB, again after a trim, MiB held."""
    return [int(word) for word in output("-c", PROGRAM, str(size), str(share)).split()]


def output(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_a_thread_takes_what_was_reserved_and_it_is_kept() -> None:
    reserved, touched, again, held = run(size=48, share=64)
    assert 60 <= reserved < 80  # some of it was free before
    assert touched < 48 * 256 / 10
    assert again < 48 * 256 / 10
    assert held >= 64


def test_without_a_reserve_every_page_is_touched_first_and_given_back() -> None:
    reserved, touched, again, held = run(size=48, share=0)
    assert reserved == 0
    assert touched >= 48 * 256
    assert again >= 48 * 256 * 0.9
    assert held < 16


def test_what_is_free_beyond_twice_the_reserve_is_given_back() -> None:
    *_, again, held = run(size=64, share=16)
    assert again >= 64 * 256 * 0.5
    assert held <= 64 + 16


def test_memory_that_is_not_to_be_had_is_refused() -> None:
    limited = "import resource; from driftline.streams.allocator import MIB, Allocator; import pyarrow; "
    limited += "resource.setrlimit(resource.RLIMIT_AS, (2048 * MIB, 2048 * MIB)); Allocator().reserve(4096 * MIB)"
    with pytest.raises(subprocess.CalledProcessError) as error:
        output("-c", limited)
    assert "no_memory" in error.value.stderr
    assert "--reserve" in error.value.stderr


def test_the_worker_command_tells_of_it() -> None:
    assert "--reserve" in output("-m", "driftline", "worker", "--help")
