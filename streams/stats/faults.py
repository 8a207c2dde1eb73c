"""Faults of the data that look like drift and are not: another unit, a sign, a stuck value, missing values, a renamed category.

Each is named with its parameter and recognised from a window's sums and counts, so it can be told before any drift test is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, chdtrc, chdtri

from driftline.streams.stats.chi_square import chi_square
from driftline.streams.stats.counts import Floats
from driftline.streams.stats.moments import Moments

#: What a feature's values may have been multiplied by (and what was added), and what that usually means.
CONVERSIONS: tuple[tuple[float, float, str], ...] = (
    (-1.0, 0.0, "the sign was turned"),
    (1000.0, 0.0, "thousandths for units (grams for kilograms, milliseconds for seconds)"),
    (0.001, 0.0, "thousands for units (kilograms for grams, seconds for milliseconds)"),
    (100.0, 0.0, "hundredths for units (per cent for shares, cents for a currency)"),
    (0.01, 0.0, "hundreds for units (shares for per cent)"),
    (10.0, 0.0, "a shifted decimal point"),
    (0.1, 0.0, "a shifted decimal point"),
    (1e6, 0.0, "millionths for units"),
    (1e-6, 0.0, "millions for units"),
    (60.0, 0.0, "seconds for minutes, or minutes for hours"),
    (1 / 60, 0.0, "minutes for seconds, or hours for minutes"),
    (3600.0, 0.0, "seconds for hours"),
    (1 / 3600, 0.0, "hours for seconds"),
    (0.45359237, 0.0, "kilograms for pounds"),
    (1 / 0.45359237, 0.0, "pounds for kilograms"),
    (1.609344, 0.0, "kilometres for miles"),
    (1 / 1.609344, 0.0, "miles for kilometres"),
    (2.54, 0.0, "centimetres for inches"),
    (1 / 2.54, 0.0, "inches for centimetres"),
    (0.3048, 0.0, "metres for feet"),
    (1 / 0.3048, 0.0, "feet for metres"),
    (1.8, 32.0, "Fahrenheit for Celsius"),
    (1 / 1.8, -32 / 1.8, "Celsius for Fahrenheit"),
    (1.0, 273.15, "kelvin for Celsius"),
    (1.0, -273.15, "Celsius for kelvin"),
)


_SCALES, _OFFSETS = np.array([each[:2] for each in CONVERSIONS]).T
UNFIT = 0.001  # chance of two squared standard scores below which a conversion does not fit
FITS = float(chdtri(2, UNFIT))  # the two scores together
#: Real change seldom multiplies a feature by more than this; by less it may, and then only an exact fit speaks for a conversion.
PLAIN_FACTOR = 3.0
FAR = 100.0  # squared standard scores by which the whole window must have moved before a conversion is thought of
EXACT_FIT = 0.06  # of the change: the standard error of the means with which a small conversion can be told from a change


class Fault(NamedTuple):
    """What happened to a feature, in words and figures; `parameters` are those of the kind."""

    kind: Literal["unit_change", "sign_flip", "stuck_value", "null_spike", "category_rename", "clock_shift"]
    message: str
    parameters: dict[str, float | str]


def unit_change(reference: Moments, current: Moments, kurtosis: float = 9.0) -> Fault | None:
    """A known conversion of the reference that fits the window far better than the reference itself.

    Mean and standard deviation must both be where the conversion puts them, within what chance allows for their sizes and a kurtosis
    (9: much heavier than normal, 3), and must not be where they were.

    Parameters
    ----------
    reference, current
        Exact moments; at least 30 rows a side and some spread, else None.

    Returns
    -------
    Fault or None
        `scale` and `offset` of `value = scale * true + offset`. Two conversions that fit are told apart by which fits better; a feature
        can fit one by chance when it drifts, which is why the whole window must have moved by 10 standard errors, and why a conversion
        by less than 3 times is told only where both means are known to 6 % of the change.

    Notes
    -----
    Formula: `|mean' - (scale * mean + offset)|` and the same of the deviation, in standard errors for a kurtosis of 9.
    Range: None, or a conversion of the table `CONVERSIONS` that fits.
    Small n: None below 30 rows a side or without spread.

    References
    ----------
    Our own; factors from the International System of Units, BIPM (2019).

    Examples
    --------
    >>> kilograms, pounds = Moments(5000, 70.0, 5000 * 15.0**2), Moments(800, 70.4 / 0.4536, 800 * (14.8 / 0.4536) ** 2)
    >>> unit_change(kilograms, pounds).message
    '× 2.205 fits: pounds for kilograms?'
    """
    if min(reference.n, current.n) < 30 or min(reference.m2, current.m2) <= 0:
        return None
    misfit_of = _misfit(reference, current, kurtosis)
    if misfit_of(1.0, 0.0) < FAR:
        return None
    misfit, scale, offset, meaning = min((misfit_of(s, o), s, o, what) for s, o, what in CONVERSIONS)
    # Two squared standard scores: mean and spread.
    if chdtrc(2, misfit) < UNFIT or not _told_apart(reference, current, scale, offset):
        return None
    fitted = f"× {scale:.4g}" + (f" {'+' if offset > 0 else '−'} {abs(offset):.4g}" if offset else "")
    kind: Literal["sign_flip", "unit_change"] = "sign_flip" if scale < 0 else "unit_change"
    return Fault(kind, f"{fitted} fits: {meaning}?", {"scale": scale, "offset": offset})


def may_be_converted(reference: Floats, current: Floats, kurtosis: float = 9.0) -> NDArray[np.bool_]:
    """Which of many features `unit_change` is worth asking about, by their `Moments`, shape (3, features): of the others it finds none.

    >>> may_be_converted(np.array([[900, 900], [5, 5], [900, 900]]), np.array([[900, 900], [5, 5000], [900, 9e8]])).tolist()
    [False, True]
    """
    (n, mean, m2), (n_now, mean_now, m2_now) = reference, current
    with np.errstate(all="ignore"):
        spread, wide = np.sqrt(m2 / (n - 1)), np.sqrt(m2_now / (n_now - 1))
        chance = 1 / n + 1 / n_now
        of_log = (kurtosis - 1) / 4 * chance
        of_mean = (mean_now - mean) ** 2 / (np.maximum(spread, wide) ** 2 * chance)
        # The last digits may be others than those of `_misfit`.
        found = np.asarray(~(of_mean + np.log(wide / spread) ** 2 / of_log < 0.999 * FAR))
        if found.any():
            all_of = np.broadcast_arrays(mean, spread, mean_now, wide, chance, of_log)
            mean, spread, mean_now, wide, chance, of_log = (each[found][:, None] for each in all_of)
            spread = np.abs(_SCALES) * spread
            of_mean = (mean_now - _SCALES * mean - _OFFSETS) ** 2 / (np.maximum(spread, wide) ** 2 * chance)
            found[found] = ~(of_mean + np.log(wide / spread) ** 2 / of_log > 1.001 * FITS).all(1)
        return found


def _misfit(reference: Moments, current: Moments, kurtosis: float) -> Callable[[float, float], float]:
    """Squared standard scores of mean and log standard deviation, were the window the reference times `scale` plus `offset`."""
    before, mean, wide = math.sqrt(reference.variance), reference.mean, math.sqrt(current.variance)
    chance = 1 / reference.n + 1 / current.n
    of_log = (kurtosis - 1) / 4 * chance

    def misfit(scale: float, offset: float) -> float:
        spread = abs(scale) * before
        of_mean = (current.mean - scale * mean - offset) ** 2 / (max(spread, wide) ** 2 * chance)
        return of_mean + math.log(wide / spread) ** 2 / of_log

    return misfit


def _told_apart(reference: Moments, current: Moments, scale: float, offset: float) -> bool:
    """Whether a conversion is large, or the window's mean so exactly known that a change would hardly meet it."""
    if not 1 / PLAIN_FACTOR < abs(scale) < PLAIN_FACTOR:
        return True  # of a sign that was turned as well: a mean near 0 may cross it by itself
    error = math.sqrt(current.variance / current.n + scale**2 * reference.variance / reference.n)
    return error <= EXACT_FIT * abs(scale * reference.mean + offset - reference.mean)


def stuck_value(reference: Moments, current: Moments, minimum: float, maximum: float, least: int = 20) -> Fault | None:
    """A feature that varied and now has one value only, in `least` rows or more.

    Notes
    -----
    Formula: `minimum == maximum` in the window, and spread in the reference.
    Range: None or the value.
    Small n: None below `least` rows.

    References
    ----------
    Our own.

    Examples
    --------
    >>> stuck_value(Moments(1000, 5.0, 900.0), Moments(50, 7.0, 0.0), 7.0, 7.0).message
    'all 50 values are 7'
    """
    if reference.m2 <= 0 or current.n < least or minimum != maximum:
        return None
    return Fault("stuck_value", f"all {int(current.n)} values are {minimum:.6g}", {"value": minimum})


def null_spike(missing_reference: int, n_reference: int, missing: int, n: int, rise: float = 0.1) -> Fault | None:
    """A share of missing values that rose by `rise` or more, and by more than chance (one in a million) makes of the reference's share.

    Notes
    -----
    Formula: `missing / rows - rise` above the reference's share, with a chance below one in a million.
    Range: [0, 1] for the shares.
    Small n: few rows can show only a large rise: the chance is that of the counts themselves.

    References
    ----------
    Our own.

    Examples
    --------
    >>> null_spike(10, 1000, 40, 100).message
    '40.0 % missing, 1.0 % in the reference'
    """
    if min(n_reference, n) == 0:
        return None
    before, now = missing_reference / n_reference, missing / n
    # A share of 0 in the reference is known only to within its own rows.
    expected = (missing_reference + 1) / (n_reference + 2)
    if now - before < rise or bdtrc(missing - 1, n, expected) > 1e-6:
        return None
    return Fault(
        "null_spike", f"{100 * now:.1f} % missing, {100 * before:.1f} % in the reference", {"share": now, "reference_share": before}
    )


def clock_shift(reference: ArrayLike, current: ArrayLike) -> Fault | None:
    """A time of day that is shifted: rows by hour, shape (24,), that fit the reference's once they are turned.

    Told where the window cannot be the reference as it stands (a chance below one in a million, and a tenth of the rows moved), and
    can be, turned by whole hours. A profile that is flat over the day tells nothing.

    Notes
    -----
    Formula: the turn by whole hours with the smallest `sum(|p - q|)`, held against the reference as it is
    and as it is turned by `chi_square`.
    Range: [-11, 12] hours.
    Small n: few rows tell nothing: the chance of the reference as it stands must be below one in a million.

    References
    ----------
    Our own.

    Examples
    --------
    >>> day = [1, 1, 1, 1, 2, 5, 20, 40, 60, 70, 70, 65, 60, 62, 64, 66, 70, 60, 50, 40, 20, 10, 5, 2]
    >>> clock_shift([10 * rows for rows in day], day[-2:] + day[:-2]).message
    'turned by +2 h fits: another time zone?'
    """
    before, now = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if not before.sum() or not now.sum():
        return None
    moved = 0.5 * float(np.abs(before / before.sum() - now / now.sum()).sum())
    if moved < 0.1 or chi_square(before, now).p_value > 1e-6:
        return None
    by = min(range(1, 24), key=lambda hours: float(np.abs(np.roll(before, hours) / before.sum() - now / now.sum()).sum()))
    if chi_square(np.roll(before, by), now).p_value < 0.001:
        return None
    hours = by if by <= 12 else by - 24
    return Fault("clock_shift", f"turned by {hours:+d} h fits: another time zone?", {"hours": float(hours)})


def category_rename(reference: Mapping[str, float], current: Mapping[str, float], least_share: float = 0.01) -> list[Fault]:
    """Categories that vanished while a new one took over their share, one to one.

    Parameters
    ----------
    reference, current
        Rows by category.
    least_share
        Categories rarer than this in the reference may vanish by chance.

    Returns
    -------
    list of Fault
        `old`, `new` and both shares; matched from the largest on, where shares differ by no more than 4 standard errors. Several
        categories of like shares that are renamed at once may be matched wrongly among themselves.

    Notes
    -----
    Formula: `|share_old - share_new| <= 4 * sqrt(share * (1 - share) * (1 / n + 1 / m))`.
    Range: [0, 1] for the shares.
    Small n: categories rarer than `least_share`, or that may have vanished by chance, are left out; empty without rows.

    References
    ----------
    Our own.

    Examples
    --------
    >>> faults = category_rename({"basic": 600, "pro": 400}, {"Basic": 290, "pro": 210})
    >>> [fault.message for fault in faults]
    ["'basic' is gone and 'Basic' has its share (58.0 %, 60.0 % before)"]
    """
    n, m = sum(reference.values()), sum(current.values())
    if min(n, m) == 0:
        return []
    gone = {name: rows / n for name, rows in reference.items() if not current.get(name) and rows / n >= least_share}
    # So common a category would not be missing by chance.
    gone = {name: share for name, share in gone.items() if (1 - share) ** m < 1e-6}
    new = {name: rows / m for name, rows in current.items() if rows and not reference.get(name)}
    faults = []
    for old, share in sorted(gone.items(), key=lambda item: (-item[1], item[0])):
        error = math.sqrt(share * (1 - share) * (1 / n + 1 / m))
        near = [(abs(now - share), name) for name, now in new.items() if abs(now - share) <= 4 * error]
        # The same letters in another case or spacing go first.
        near.sort(key=lambda pair: (_plain(pair[1]) != _plain(old), pair))
        if near:
            name = near[0][1]
            now = new.pop(name)
            message = f"{old!r} is gone and {name!r} has its share ({100 * now:.1f} %, {100 * share:.1f} % before)"
            faults.append(Fault("category_rename", message, {"old": old, "new": name, "share": now, "reference_share": share}))
    return faults


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
