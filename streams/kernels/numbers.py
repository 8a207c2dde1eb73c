"""JSON numbers to the nearest double, where at most 19 digits say what it is, anything else is flagged; and their places among edges.

The product with a power of five to 128 bits decides the rounding (Lemire, "Number Parsing at a Gigabyte per Second", 2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from driftline.streams.kernels.machine import (
    as_bits,
    as_double,
    byte,
    compiled,
    float64,
    inlined,
    leading_zeros,
    product,
    trailing_zeros,
    word,
)

LOWEST, HIGHEST = -280, 280  # decimal exponents taken here; the product can then be neither subnormal nor infinite


def _powers_of_five() -> Any:
    """The leading 128 bits of 5^q, shape (n, 2): those of negative powers rounded up, of positive ones cut off."""
    rows = []
    for q in range(LOWEST, HIGHEST + 1):
        power = 5 ** abs(q)
        if q < 0:
            bits = power.bit_length()
            power = 2 ** ((bits + 127) if q >= -27 else 2 * bits + 128) // power + 1
        shift = power.bit_length() - 128
        power = power >> shift if shift > 0 else power << -shift
        rows.append((power >> 64, power & (2**64 - 1)))
    return np.array(rows, np.uint64)


FIVES = _powers_of_five()
EXACT = 10.0 ** np.arange(23)
ONES, TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
ZEROS, POINTS = np.uint64(0x3030303030303030), np.uint64(0x2E2E2E2E2E2E2E2E)
TENS = 10 ** np.arange(20, dtype=np.uint64)
FLAGGED = -1


@compiled
def double(digits: Any, exponent: int) -> Any:
    """`digits` · 10^`exponent` rounded to nearest even; `digits` is not 0 and the exponent within the limits."""
    if digits < np.uint64(9007199254740992) and -22 <= exponent <= 22:
        exact = float(digits)
        return exact * EXACT[exponent] if exponent >= 0 else exact / EXACT[-exponent]
    zeros = leading_zeros(digits)
    shifted = digits << np.uint64(zeros)
    high, low = product(shifted, FIVES[exponent - LOWEST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = product(shifted, FIVES[exponent - LOWEST, 1])
        low += more
        if more > low:
            high += np.uint64(1)
    upper = np.int64(high >> np.uint64(63))
    mantissa = high >> np.uint64(upper + 9)
    power = ((217706 * exponent) >> 16) + 63 + upper - zeros + 1023
    halfway = low <= np.uint64(1) and -4 <= exponent <= 23 and mantissa & np.uint64(3) == np.uint64(1)
    if halfway and mantissa << np.uint64(upper + 9) == high:
        mantissa &= ~np.uint64(1)
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        power += 1
    bits = (mantissa & np.uint64((1 << 52) - 1)) | (np.uint64(power) << np.uint64(52))
    return as_double(bits)


@compiled
def digits_in(w: Any) -> int:
    """How many of the eight bytes are digits, from the first on."""
    high = np.uint64(0xF0F0F0F0F0F0F0F0)
    others = ((w & high) | (((w + np.uint64(0x0606060606060606)) & high) >> np.uint64(4))) ^ np.uint64(0x3333333333333333)
    return 8 if others == np.uint64(0) else trailing_zeros(others) >> 3


@compiled
def eight(w: Any) -> Any:
    """What eight bytes from 0 to 9 say as digits, the first the highest (the eight-digit step of fast_float)."""
    w = (w * np.uint64(2_561)) >> np.uint64(8)
    w = ((w & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6_553_601)) >> np.uint64(16)
    return ((w & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42_949_672_960_001)) >> np.uint64(32)


@compiled
def value_of(w: Any, n: int) -> Any:
    """What the first `n` of eight bytes say, 1 to 8 digits."""
    return eight((w << np.uint64(64 - 8 * n)) & np.uint64(0x0F0F0F0F0F0F0F0F))


@inlined
def decimal(i: int, end: int) -> Any:
    """The number from `i` to `end` where it has at most eight characters after its sign and no exponent; whether it was one of these.

    Eight bytes before `end` are looked at. Without a branch that depends on where the point is: the processor would guess wrong.
    """
    minus: Any = np.int64(byte(i, 0) == 45)
    i += minus
    n = end - i
    if n < 1 or n > 8:
        return False, 0.0
    others = np.uint64(64 - 8 * n)
    w = word(end - 8, 0) >> others << others
    point = w ^ POINTS
    point = (point - ONES) & ~point & TOPS
    digits, places = n, 0
    if point != np.uint64(0):
        point &= ~point + np.uint64(1)
        before = (point >> np.uint64(7)) - np.uint64(1)
        w = (w & before) << np.uint64(8) | w & ~((point << np.uint64(1)) - np.uint64(1))
        places = 7 - (trailing_zeros(point) >> 3)
        digits = n - 1 - places
        others += np.uint64(8)
        if places == 0 or digits < 1:
            return False, 0.0
    w ^= ZEROS >> others << others
    strange = ((w + np.uint64(0x7676767676767676)) | w) & TOPS
    if (strange != np.uint64(0)) | ((byte(i, 0) == 48) & (digits > 1)):
        return False, 0.0
    whole = eight(w)
    value = float(whole) / EXACT[np.uint64(places)]
    sign = np.uint64(minus & ((places > 0) | (whole != np.uint64(0))))
    return True, as_double(as_bits(value) | sign << np.uint64(63))


@compiled
def digits_before(end: int, n: int) -> Any:
    """What the `n` digits before `end` say, 1 to 8; and something but 0 if they are none. Eight bytes are looked at."""
    others = np.uint64(64 - 8 * n)
    w = (word(end - 8, 0) >> others << others) ^ (ZEROS >> others << others)
    return eight(w), ((w + np.uint64(0x7676767676767676)) | w) & TOPS


@compiled
def long_decimal(i: int, end: int) -> Any:
    """The same as `decimal` for more characters: at most seven digits before a point, 16 behind it, and 19 together."""
    minus: Any = np.int64(byte(i, 0) == 45)
    i += minus
    first = word(i, 0)
    before = digits_in(first)
    places = end - i - before - 1
    if not (1 <= before < 8 and 1 <= places <= 16 and before + places <= 19) or byte(i, before) != 46 or (before > 1 and byte(i, 0) == 48):
        return False, 0.0
    whole, strange = digits_before(end, min(places, 8))
    if places > 8:
        more, stranger = digits_before(end - 8, places - 8)
        whole, strange = whole + more * TENS[8], strange | stranger
    if strange != np.uint64(0):
        return False, 0.0
    value = double(value_of(first, before) * TENS[np.uint64(places)] + whole, -places)
    return True, as_double(as_bits(value) | np.uint64(minus) << np.uint64(63))


@compiled
def milliseconds(i: int) -> int:
    """The whole number of thirteen digits at `i`, or -1. Sixteen bytes are looked at."""
    first, last = word(i, 0), word(i + 5, 0)
    if digits_in(first) < 8 or digits_in(last) < 8 or byte(i, 0) == 48:
        return -1
    return int(value_of(first, 5) * np.uint64(100_000_000) + value_of(last, 8))


@compiled
def number(i: int, end: int) -> Any:
    """The number at address `i`: its value; where it ends, or -1 if flagged; and itself if it is an integer below 10^18, or -1.

    What is usual, at most seven digits before the point and after it, is read eight bytes at a time: a loop over digits costs the
    processor a wrong guess where it ends.
    """
    negative = i < end and byte(i, 0) == 45
    if negative:
        i += 1
    if i + 16 <= end:
        first = word(i, 0)
        n = digits_in(first)
        if 0 < n < 8 and (n == 1 or byte(i, 0) != 48):
            after = byte(i, n)
            if after == 46:
                second = word(i, n + 1)
                m = digits_in(second)
                if 0 < m < 8 and byte(i, n + 1 + m) | 32 != 101:
                    value = float(value_of(first, n) * TENS[m] + value_of(second, m)) / EXACT[m]
                    return (-value if negative else value), i + n + 1 + m, -1
            elif after | 32 != 101:
                told = value_of(first, n)
                whole = np.int64(told) if told == 0 or not negative else -1
                return (-float(told) if negative and told else float(told)), i + n, whole
    return slow_number(i, end, negative)


@compiled
def slow_number(i: int, end: int, negative: bool) -> Any:
    """The number at address `i`, digit by digit; its sign was there before."""
    digits, count, exponent, first = np.uint64(0), 0, 0, i
    while i < end and 48 <= byte(i, 0) <= 57:
        digits = digits * np.uint64(10) + np.uint64(byte(i, 0) - 48)
        count += digits != 0
        i += 1
    if i == first or (i - first > 1 and byte(first, 0) == 48):
        return 0.0, FLAGGED, -1
    integer = True
    if i < end and byte(i, 0) == 46:
        integer = False
        i += 1
        first = i
        while i < end and 48 <= byte(i, 0) <= 57:
            digits = digits * np.uint64(10) + np.uint64(byte(i, 0) - 48)
            count += digits != 0
            i += 1
        if i == first:
            return 0.0, FLAGGED, -1
        exponent = first - i
    if count > 19:
        return 0.0, FLAGGED, -1
    if i < end and (byte(i, 0) | 32) == 101:
        integer = False
        i += 1
        down = i < end and byte(i, 0) == 45
        if i < end and (byte(i, 0) == 43 or byte(i, 0) == 45):
            i += 1
        first, power = i, 0
        while i < end and 48 <= byte(i, 0) <= 57:
            power = min(power * 10 + byte(i, 0) - 48, 9_999)
            i += 1
        if i == first:
            return 0.0, FLAGGED, -1
        exponent += -power if down else power
    if digits == 0:
        return (-0.0 if negative and not integer else 0.0), i, 0 if integer else -1
    if not LOWEST <= exponent <= HIGHEST:
        return 0.0, FLAGGED, -1
    value = double(digits, exponent)
    whole = np.int64(digits) if integer and not negative and count <= 18 else -1
    return (-value if negative else value), i, whole


@compiled
def place_of_number(edges: int, low: int, high: int, x: float) -> int:
    """How many of the edges are at most `x`."""
    first, n = low, high - low
    while n > 1:  # without a branch that could be guessed wrong
        half = n >> 1
        first += half * (float64(edges, first + half - 1) <= x)
        n -= half
    return first - low + (n == 1 and float64(edges, first) <= x)
