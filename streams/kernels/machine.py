"""What compiled code does with memory: loads and stores by address, 128-bit products, leading zeros. For numba only.

Arrays come into compiled code as addresses. An array handed from function to function costs numba a reference count each time, which made
the parser six times slower, and ten times as long to compile. Whoever calls keeps the arrays alive and says how long they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def intrinsic(function: Any) -> Any:
    """A function that says which instructions stand in its place."""
    return numba.extending.intrinsic(function)


def compiled(function: Function) -> Function:
    """Compiled when code that is compiled calls it, and with that."""
    made: Function = numba.njit(error_model="numpy")(function)
    return made


def inlined(function: Function) -> Function:
    """The same, put into the place of each call: for small pieces that are called once a value."""
    made: Function = numba.njit(error_model="numpy", inline="always")(function)
    return made


def summing(function: Function) -> Function:
    """As `compiled`, where it does not matter in which order numbers are added: several at once."""
    made: Function = numba.njit(error_model="numpy", fastmath={"reassoc"})(function)
    return made


def entry(signature: Any) -> Callable[[Function], Function]:
    """Compiled at once for these types, or found in the cache; Python calls it."""

    def make(function: Function) -> Function:
        made: Function = numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        return made

    return make


_WORD = ir.IntType(64)
_LLVM = {
    "u1": ir.IntType(8), "u2": ir.IntType(16), "i4": ir.IntType(32), "i8": _WORD, "u8": _WORD, "f4": ir.FloatType(), "f8": ir.DoubleType(),
}  # fmt: skip
_NUMBA = {
    "u1": types.int64, "u2": types.int64, "i4": types.int64, "i8": types.int64, "u8": types.uint64, "f4": types.float32,
    "f8": types.float64,
}  # fmt: skip


_DATA = object.__basicsize__  # NumPy's object begins with this pointer: ten times as fast as to ask for `__array_interface__`


def address(array: NDArray[Any]) -> int:
    """Where the first element of a contiguous array lies.

    >>> import numpy as np
    >>> array = np.arange(3)
    >>> address(array) == array.ctypes.data
    True
    """
    return ctypes.c_size_t.from_address(id(array) + _DATA).value


def _pointer(builder: Any, kind: str, base: Any, place: Any, size: int) -> Any:
    """Said so that LLVM sees which elements of a loop follow one another, and takes several at once."""
    whole = size == np.dtype(kind).itemsize
    step = _LLVM[kind] if whole else _LLVM["u1"]
    at = builder.gep(builder.inttoptr(base, step.as_pointer()), [place])
    return at if whole else builder.bitcast(at, _LLVM[kind].as_pointer())


def _load(kind: str, size: int) -> Any:
    """`load(base, i)`: element `i` of the array of this kind at `base`; integers narrower than 64 bits are widened."""

    @intrinsic
    def load(_: Any, base: Any, place: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            value = builder.load(_pointer(builder, kind, args[0], args[1], size), align=1)
            return builder.zext(value, _WORD) if kind in {"u1", "u2"} else builder.sext(value, _WORD) if kind == "i4" else value

        return _NUMBA[kind](types.int64, types.int64), generate

    return load


def _store(kind: str, size: int) -> Any:
    """`store(base, i, value)`: the opposite of a load."""

    @intrinsic
    def store(_: Any, base: Any, place: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
            narrow = builder.trunc(args[2], _LLVM[kind]) if kind in {"u1", "u2", "i4"} else args[2]
            builder.store(narrow, _pointer(builder, kind, args[0], args[1], size), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, _NUMBA[kind]), generate

    return store


Load: TypeAlias = Callable[[int, int], int]
Store: TypeAlias = Callable[[int, int, Any], None]
byte: Load = _load("u1", 1)
uint16: Load = _load("u2", 2)
int32: Load = _load("i4", 4)
int64: Load = _load("i8", 8)
uint64: Callable[[int, int], Any] = _load("u8", 8)
float32: Callable[[int, int], float] = _load("f4", 4)
float64: Callable[[int, int], float] = _load("f8", 8)
word: Callable[[int, int], Any] = _load("u8", 1)  # eight bytes from byte `i` on, the first the lowest
set_byte: Store = _store("u1", 1)
set_uint16: Store = _store("u2", 2)
set_int32: Store = _store("i4", 4)
set_int64: Store = _store("i8", 8)
set_uint64: Store = _store("u8", 8)
set_float32: Store = _store("f4", 4)
set_float64: Store = _store("f8", 8)


@intrinsic
def product(_: Any, a: Any, b: Any) -> Any:
    """The high and the low half of the 128-bit product of two uint64."""

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        whole = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        halves = [builder.trunc(builder.lshr(whole, wide(64)), _WORD), builder.trunc(whole, _WORD)]
        return context.make_tuple(builder, types.UniTuple(types.uint64, 2), halves)

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate


@intrinsic
def leading_zeros(_: Any, a: Any) -> Any:
    """Of a uint64 that is not 0, as int64."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@intrinsic
def trailing_zeros(_: Any, a: Any) -> Any:
    """Of a uint64 that is not 0, as int64."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@intrinsic
def move(_: Any, to: Any, since: Any, n: Any) -> Any:
    """`n` bytes from one address to another; they may lie over one another."""

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        bytes_ = _LLVM["u1"].as_pointer()
        function = builder.module.declare_intrinsic("llvm.memmove", [bytes_, bytes_, _WORD])
        builder.call(function, [builder.inttoptr(args[0], bytes_), builder.inttoptr(args[1], bytes_), args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def fetch_ahead(_: Any, place: Any) -> Any:
    """Have the processor bring what lies at an address, which may be any, nearer while other work goes on."""

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        pointer, whole = _LLVM["u1"].as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, whole, whole, whole])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(function, [builder.inttoptr(args[0], pointer), whole(0), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def room(size: int) -> Callable[[], int]:
    """`room()`: the address of so many bytes of anything, until the function that calls it ends."""

    @intrinsic
    def made(_: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, ___: Any) -> Any:
            with builder.goto_entry_block():
                place = builder.alloca(ir.ArrayType(_WORD, -(-size // 8)))
            return builder.ptrtoint(place, _WORD)

        return types.int64(), generate

    return made  # type: ignore[no-any-return]


AHEAD = 32  # keys or rows whose values are fetched before it is their turn; at half of the way what those lead to
_BYTES = 32


@intrinsic
def value_ends(_: Any, place: Any) -> Any:
    """A bit, from the lowest on, for each of the 32 bytes at an address that is a comma or a closing brace."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        kind = ir.VectorType(_LLVM["u1"], _BYTES)
        found = builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=1)
        comma, brace = (builder.icmp_unsigned("==", found, kind([ord(c)] * _BYTES)) for c in ",}")
        return builder.zext(builder.bitcast(builder.or_(comma, brace), ir.IntType(_BYTES)), _WORD)

    return types.uint64(types.int64), generate


def _cast(to: Any, source: Any, llvm: Any) -> Any:
    @intrinsic
    def cast(_: Any, value: Any) -> Any:
        return to(source), lambda _, builder, __, args: builder.bitcast(args[0], llvm)

    return cast


as_double = _cast(types.float64, types.uint64, ir.DoubleType())  # of its bits
as_bits = _cast(types.uint64, types.float64, _WORD)


@compiled
def begins(a: int, b: int, n: int) -> bool:
    """Whether the `n` bytes at `a`, at least one, are those at `b`. Up to seven bytes behind both are looked at."""
    while n > 8:
        if word(a, 0) != word(b, 0):
            return False
        a, b, n = a + 8, b + 8, n - 8
    return bool((word(a, 0) ^ word(b, 0)) << np.uint64(64 - 8 * n) == np.uint64(0))


@compiled
def same(a: int, b: int, n: int) -> bool:
    """Whether the `n` bytes at `a` are those at `b`."""
    k = 0
    while k + 8 <= n:
        if word(a, k) != word(b, k):
            return False
        k += 8
    while k < n:
        if byte(a, k) != byte(b, k):
            return False
        k += 1
    return True
