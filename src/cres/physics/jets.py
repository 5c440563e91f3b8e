"""Values with their first and second derivatives by radius and axial place, carried through arithmetic.

A formula that uses only + − × ÷ and powers, such as `fields.coil_field`, gives its own Taylor series when it is fed
with jets: one pass in plain arrays in place of derivatives of derivatives, which cost a hundred times more in torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Jet:
    """f with (f_ρ, f_z) and (f_ρρ, f_ρz, f_zz), truncated after the second order; arrays of NumPy or torch."""

    value: Any
    first: tuple[Any, Any]
    second: tuple[Any, Any, Any]

    def __add__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.first, self.second)
        first = self.first[0] + other.first[0], self.first[1] + other.first[1]
        second = tuple(a + b for a, b in zip(self.second, other.second, strict=True))
        return Jet(self.value + other.value, first, (second[0], second[1], second[2]))

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            first = self.first[0] * other, self.first[1] * other
            return Jet(
                self.value * other, first, (self.second[0] * other, self.second[1] * other, self.second[2] * other)
            )
        a, b = self, other
        return Jet(
            a.value * b.value,
            (a.value * b.first[0] + a.first[0] * b.value, a.value * b.first[1] + a.first[1] * b.value),
            (
                a.value * b.second[0] + 2 * a.first[0] * b.first[0] + a.second[0] * b.value,
                a.value * b.second[1] + a.first[0] * b.first[1] + a.first[1] * b.first[0] + a.second[1] * b.value,
                a.value * b.second[2] + 2 * a.first[1] * b.first[1] + a.second[2] * b.value,
            ),
        )

    def __pow__(self, power: int | float) -> Jet:
        slope = power * self.value ** (power - 1)
        bend = power * (power - 1) * self.value ** (power - 2)
        (r, z), (rr, rz, zz) = self.first, self.second
        second = slope * rr + bend * r * r, slope * rz + bend * r * z, slope * zz + bend * z * z
        return Jet(self.value**power, (slope * r, slope * z), second)

    def __neg__(self) -> Jet:
        return self * -1.0

    def __sub__(self, other: Any) -> Jet:
        return self + -other

    def __rsub__(self, other: Any) -> Jet:
        return -self + other

    def __truediv__(self, other: Any) -> Jet:
        return self * other**-1 if isinstance(other, Jet) else self * (1 / other)

    def __rtruediv__(self, other: Any) -> Jet:
        return self**-1 * other

    __radd__ = __add__
    __rmul__ = __mul__

    def at(self, radius_step: Any, axial_step: Any) -> Any:
        """Return the Taylor polynomial of the second order at a step from the place of the jet."""
        (r, z), (rr, rz, zz) = self.first, self.second
        along_radius = r + rr / 2 * radius_step + rz * axial_step
        return self.value + along_radius * radius_step + (z + zz / 2 * axial_step) * axial_step


def places(radius_m: Any, axial_m: Any) -> tuple[Jet, Jet]:
    """Return radius and axial place (arrays of one shape) as the independent variables."""
    one, zero = radius_m * 0 + 1.0, radius_m * 0
    return Jet(radius_m, (one, zero), (zero, zero, zero)), Jet(axial_m, (zero, one), (zero, zero, zero))
