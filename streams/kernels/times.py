"""Moments as RFC 3339 writes them, in compiled code, in the years 2000 to 2100; a leap second is left to the strict decoder."""

from __future__ import annotations

from typing import Any

from driftline.streams.kernels.machine import byte, compiled

FLAGGED = -1
NONE = 1_000  # what two bytes say that are no digits
DAY_MS, MINUTE_MS = 86_400_000, 60_000


@compiled
def two(i: int) -> int:
    """What the two digits at `i` say."""
    tens, ones = byte(i, 0) - 48, byte(i, 1) - 48
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else NONE


@compiled
def days(year: int, month: int, day: int) -> int:
    """From the beginning of 1970 to a day of a year from 2000 to 2100; `FLAGGED` if there is none."""
    leap = year % 4 == 0 and year != 2100
    length = 28 + leap if month == 2 else 30 + ((month + month // 8) & 1)
    if not (1 <= month <= 12 and 1 <= day <= length):
        return FLAGGED
    before = year - (month <= 2)  # a year that begins in March has its leap day last
    return 365 * before + before // 4 - before // 100 + before // 400 + (153 * (month + 9 - 12 * (month > 2)) + 2) // 5 + day - 719_469


@compiled
def fraction(i: int) -> Any:
    """The microseconds that one to nine digits at `i` say, cut off, and where they end; (`FLAGGED`, i) if there are none."""
    value, n = 0, 0
    while n <= 9 and 48 <= byte(i, n) <= 57:
        value = value * 10 + byte(i, n) - 48 if n < 6 else value
        n += 1
    if n == 0 or n > 9:
        return FLAGGED, i
    for _ in range(n, 6):
        value *= 10
    return value, i + n


@compiled
def moment(i: int) -> Any:
    """The milliseconds since the epoch that the text at `i` says, from its first digit on, and where it ends; (`FLAGGED`, i) if none.

    At most 36 bytes are looked at.
    """
    year, month, day = two(i) * 100 + two(i + 2), two(i + 5), two(i + 8)
    hour, minute, second, micro, after = two(i + 11), two(i + 14), two(i + 17), 0, i + 19
    marks = byte(i, 4) == 45 and byte(i, 7) == 45 and (byte(i, 10) | 32 == 116 or byte(i, 10) == 32) and byte(i, 13) == 58 == byte(i, 16)
    if not (marks and 2000 <= year <= 2100 and hour < 24 and minute < 60 and second < 60):
        return FLAGGED, i
    day = days(year, month, day)
    if byte(after, 0) == 46:
        micro, after = fraction(after + 1)
    if day < 0 or micro < 0:
        return FLAGGED, i
    offset, zone = 0, byte(after, 0)
    if zone == 43 or zone == 45:
        hours, minutes = two(after + 1), two(after + 4)
        if byte(after, 3) != 58 or hours >= 24 or minutes >= 60:
            return FLAGGED, i
        offset = (hours * 60 + minutes) * (44 - zone)
        after += 6
    elif zone | 32 == 122:
        after += 1
    else:
        return FLAGGED, i
    rest = micro % 1000
    milli = micro // 1000 + (rest > 500 or (rest == 500 and micro // 1000 % 2 == 1))  # to the even one
    return day * DAY_MS + (hour * 60 + minute - offset) * MINUTE_MS + second * 1000 + milli, after
