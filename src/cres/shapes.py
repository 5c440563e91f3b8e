"""The one vocabulary of tensor shapes. Checked with beartype under test, free in production.

batch: electrons; time: samples; channel: read-out channels or views' channels; bin: frequency bins;
width: features of an encoder; target: regressed quantities.
"""

from __future__ import annotations

from jaxtyping import Complex, Float, Int
from torch import Tensor

Series = Float[Tensor, "batch time channel"]
ComplexSeries = Complex[Tensor, "batch time"]
ComplexSpectrum = Complex[Tensor, "batch bin"]
Lengths = Int[Tensor, "batch"]
EventIds = Int[Tensor, "batch"]
Features = Float[Tensor, "batch width"]
Targets = Float[Tensor, "batch target"]
Covariance = Float[Tensor, "batch target target"]
PerElectron = Float[Tensor, "batch"]
