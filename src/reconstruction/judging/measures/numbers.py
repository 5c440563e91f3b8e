"""Numbers as people read them: a figure with as many digits as its interval allows, and names with units."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.measures.metrics import metric
from reconstruction.judging.tables.judged import judged, unit_of
from reconstruction.judging.tables.stored import unit_in_name

_SHORT_UNITS = {"deg": "°"}


def plain_name(column: str) -> str:
    """Return how a person calls a column: energy_ev → energy."""
    stem = column.removeprefix("true_")
    known = {name.lower(): one.plain for name, one in judged().columns.items()}
    if stem in known:
        return known[stem]
    return (stem.rpartition("_")[0] if unit_in_name(stem) else stem).replace("_", " ")


def with_unit(name: str, target: str) -> str:
    """Return the unit that a metric of a target is printed in."""
    unit = metric(name).unit
    return _SHORT_UNITS.get(unit_of(target), unit_of(target)) if unit == "target" else unit


def with_error(figure: Figure | None, unit: str = "") -> str:
    """Return "0.412 ± 0.012": two digits of the interval's half width, "+a −b" where its sides differ much.

    Per cent are multiplied out, other units are left to the heading; "–" stands for what is not known.
    """
    value, down, up = _scaled(figure, unit)
    if not math.isfinite(value):
        return "–"
    if not max(down, up) > 0:
        return significant(value)
    places = decimals(max(down, up))
    if min(down, up) < 0.5 * max(down, up):
        return minus(f"{value:.{places}f} +{max(up, 0):.{places}f} −{max(down, 0):.{places}f}")
    return minus(f"{value:.{places}f} ± {(up + down) / 2:.{places}f}")


def in_brackets(figure: Figure | None, unit: str = "") -> str:
    """Return "0.412(12)", the half width of the interval in units of the last digits, "67.5(1.1)" from one up."""
    value, down, up = _scaled(figure, unit)
    if not math.isfinite(value):
        return "–"
    error = (up + down) / 2
    if not error > 0:
        return significant(value)
    places = decimals(error)
    shown = f"{error:.{places}f}" if error >= 0.995 or not places else f"{error * 10**places:.0f}"
    return minus(f"{value:.{places}f}({shown})")


def decimals(error: float) -> int:
    """Return how many decimal places show two digits of an error (at least none, at most eight)."""
    if not (math.isfinite(error) and error > 0):
        return 3
    exponent = math.floor(math.log10(error))
    return min(max(1 - exponent, 0), 8)


def significant(value: float, digits: int = 3) -> str:
    """Return a number with some significant digits and no exponent between 1e-4 and 1e6."""
    return minus(f"{value:.{digits}g}")


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plain(value: float) -> str:
    """Return a number with three digits, or all before the point where there are more: 36.6, 1012."""
    return minus(f"{value:.0f}") if abs(value) >= 100 else significant(value)


def _scaled(figure: Figure | None, unit: str) -> tuple[float, float, float]:
    """Return value, distance to the lower end, distance to the upper end; NaN for what is not known."""
    if figure is None:
        return math.nan, math.nan, math.nan
    scale = 100.0 if unit == "%" else 1.0
    return figure.value * scale, (figure.value - figure.low) * scale, (figure.high - figure.value) * scale


def signed(value: float, places: int) -> str:
    """Return a number with its sign, "+0.31" or "−0.31"."""
    return minus(f"{value:+.{places}f}")


def minus(text: str) -> str:
    """Return a number's text with the sign that is printed in books."""
    return text.replace("-", "−")
