"""The one vocabulary of tensor shapes. Checked with beartype under test, free in production.

batch: rows; time: samples; channel: read-out channels or views' channels; bin: frequency bins;
width: features of an encoder; target: regressed quantities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Int, Shaped
else:
    try:
        from jaxtyping import Bool, Complex, Float, Int, Shaped
    except ImportError:  # networks alone need torch and numpy, and nothing that checks their shapes

        class _Unchecked:
            """A shape that nobody checks: the bare type."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Complex = Float = Int = Shaped = _Unchecked

__all__ = [
    "Bool",
    "Complex",
    "ComplexSeries",
    "ComplexSpectrum",
    "Covariance",
    "EventIds",
    "Features",
    "Float",
    "Int",
    "Lengths",
    "PerRow",
    "Series",
    "Shaped",
    "Targets",
]

Series = Float[Tensor, "batch time channel"]
ComplexSeries = Complex[Tensor, "batch time"]
ComplexSpectrum = Complex[Tensor, "batch bin"]
Lengths = Int[Tensor, "batch"]
EventIds = Int[Tensor, "batch"]
Features = Float[Tensor, "batch width"]
Targets = Float[Tensor, "batch target"]
Covariance = Float[Tensor, "batch target target"]
PerRow = Float[Tensor, "batch"]
