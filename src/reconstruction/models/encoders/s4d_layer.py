"""The S4D layer: a long convolution whose kernel is a diagonal state-space model."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from typing import Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.encoders.convolution import fft_convolve, good_length
from reconstruction.models.encoders.s4d_kernel import discretise, geometric_projection, geometric_sum, s4d_kernel
from reconstruction.models.encoders.s4d_spectra import KeptSpectra, joint_spectra
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Complex, Float

Initialisation = Literal["lin", "inv", "random"]


def initial_spectrum(name: Initialisation, channels: int, states: int) -> Complex[Tensor, "channel state"]:
    """Return the initial diagonal A, one of each conjugate pair (`states` of them), complex128.

    lin: A_n = −½ + iπn;  inv: A_n = −½ + i (N/π)(N/(2n+1) − 1), N = 2 · states    Gu et al. 2022, eqs. 8 and 9
    random: real parts −exp(normal), imaginary parts uniform over the range of `lin`
    """
    return _SPECTRA[name](channels, states)


def _lin(channels: int, states: int) -> Tensor:
    imaginary = math.pi * torch.arange(states, dtype=torch.float64)
    return torch.complex(torch.full_like(imaginary, -0.5), imaginary).repeat(channels, 1)


def _inv(channels: int, states: int) -> Tensor:
    order = 2 * states
    imaginary = order / math.pi * (order / (2 * torch.arange(states, dtype=torch.float64) + 1) - 1)
    return torch.complex(torch.full_like(imaginary, -0.5), imaginary).repeat(channels, 1)


def _random(channels: int, states: int) -> Tensor:
    real = -torch.exp(torch.randn(channels, states, dtype=torch.float64))
    return torch.complex(real, math.pi * states * torch.rand(channels, states, dtype=torch.float64))


_SPECTRA = {"lin": _lin, "inv": _inv, "random": _random}


class Dynamics(nn.Module):
    """Time step and diagonal A of a state-space layer: parameters with their own learning rate and no decay."""

    def __init__(
        self, channels: int, states: int, initialisation: Initialisation, dt_min: float, dt_max: float
    ) -> None:
        super().__init__()
        if not 0 < dt_min <= dt_max:
            raise UserError(f"dt_min and dt_max need 0 < dt_min ≤ dt_max, not {dt_min} and {dt_max}")
        spectrum = initial_spectrum(initialisation, channels, states)
        log_dt = math.log(dt_min) + torch.rand(channels) * (math.log(dt_max) - math.log(dt_min))
        self.log_dt = nn.Parameter(log_dt)
        self.log_a_real = nn.Parameter(torch.log(-spectrum.real).float())
        self.a_imaginary = nn.Parameter(spectrum.imag.float())

    def forward(self) -> tuple[Complex[Tensor, "channel state"], Float[Tensor, "channel"]]:
        """Return A (complex128, negative real part) and Δ (float64)."""
        a = torch.complex(-torch.exp(self.log_a_real.double()), self.a_imaginary.double())
        return a, torch.exp(self.log_dt.double())


class StateSpace(nn.Module):
    """Diagonal state-space model of each channel, as convolution, as recurrence and in chunks.

    `state` counts conjugate pairs twice, as the paper's N. Bidirectional layers have a second C for the future.
    """

    def __init__(
        self,
        channels: int,
        state: int = 64,
        *,
        bidirectional: bool = True,
        initialisation: Initialisation = "lin",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
    ) -> None:
        super().__init__()
        if state < 2 or state % 2:
            raise UserError(f"the state size of S4D must be even and at least 2, not {state}")
        self.directions = 2 if bidirectional else 1
        self.dynamics = Dynamics(channels, state // 2, initialisation, dt_min, dt_max)
        # C real and imaginary: standard normal, as in the paper's reference code; real so that any optimiser takes it.
        self.c = nn.Parameter(torch.randn(self.directions, channels, state // 2, 2) * math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(channels))
        self.kept = KeptSpectra()

    def kernel(self, length: int) -> Float[Tensor, "direction channel length"]:
        """Return the convolution kernel of each direction; D is part of the first weight of the past's."""
        a, dt = self.dynamics()
        kernel = s4d_kernel(torch.view_as_complex(self.c), a, dt, length)
        return kernel + nn.functional.pad(self.skip.reshape(1, -1, 1), (0, length - 1, 0, 0, 0, self.directions - 1))

    def forward(
        self, values: Float[Tensor, "batch channel length"], spectrum: Complex[Tensor, "channel bin"] | None = None
    ) -> Float[Tensor, "batch channel length"]:
        """Convolve in float32 or better, whatever autocast says; zeros behind a record's end change nothing.

        `spectrum` is this layer's own, where `spectra_of` has made it with those of others.
        """
        with torch.autocast(values.device.type, enabled=False):
            values = in_precision(values, self.c.dtype)
            length = values.shape[-1]
            return fft_convolve(
                values, self.spectrum(length) if spectrum is None else spectrum, good_length(2 * length)
            )

    def spectrum(self, length: int) -> Complex[Tensor, "channel bin"]:
        """Return the kernel's spectrum for series of `length`; kept while nothing trains and no parameter changes."""
        return spectra_of([self], length, self.kept)[0]

    @property
    def learns(self) -> bool:
        """Whether a spectrum serves one pass only, because the parameters are about to change."""
        return self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()

    def kernel_parameters(self) -> tuple[Tensor, ...]:
        """Return C, D, log Δ, log(−Re A) and Im A."""
        return (self.c, self.skip, self.dynamics.log_dt, self.dynamics.log_a_real, self.dynamics.a_imaginary)

    def initial_state(self, batch: int) -> Complex[Tensor, "batch channel state"]:
        """Return the state before the first sample: zero."""
        _, channels, states, _ = self.c.shape
        return torch.zeros(batch, channels, states, dtype=self.c.dtype.to_complex(), device=self.c.device)

    def step(
        self, sample: Float[Tensor, "batch channel"], state: Complex[Tensor, "batch channel state"]
    ) -> tuple[Float[Tensor, "batch channel"], Complex[Tensor, "batch channel state"]]:
        """One sample of the recurrence x ← exp(ΔA) x + (exp(ΔA) − 1)/A · u, y = 2 Re C x + D u (causal only)."""
        self._check_causal()
        exponent, input_weight = discretise(*self.dynamics())
        state = torch.exp(exponent).to(state.dtype) * state + input_weight.to(state.dtype) * sample.unsqueeze(-1)
        output = 2 * (torch.view_as_complex(self.c)[0] * state).real.sum(dim=-1)
        return output + self.skip * sample, state

    def chunk(
        self, values: Float[Tensor, "batch channel length"], state: Complex[Tensor, "batch channel state"]
    ) -> tuple[Float[Tensor, "batch channel length"], Complex[Tensor, "batch channel state"]]:
        """Convolve one chunk of a longer series and carry the state to the next chunk (causal only, no gradient)."""
        self._check_causal()
        exponent, input_weight = discretise(*self.dynamics())
        length = values.shape[-1]
        decay = torch.exp(exponent)
        from_past = geometric_sum(torch.view_as_complex(self.c)[0] * (decay * state).to(state.dtype), exponent, length)
        arrived = geometric_projection(values.flip(-1), exponent)
        carried = torch.exp(exponent * length) * state + input_weight * arrived
        return self(values) + from_past, carried.to(state.dtype)

    def _check_causal(self) -> None:
        if self.directions != 1:
            raise UserError("only a causal S4D model can work in steps or chunks: set bidirectional to false")


def spectra_of(layers: Many[StateSpace], length: int, kept: KeptSpectra) -> tuple[Complex[Tensor, "channel bin"], ...]:
    """Return the spectrum of each layer's kernel, made together; `kept` serves while nothing trains or changes."""
    if layers[0].learns:
        kept.forget()
        return joint_spectra(layers, length)
    return kept.of(layers, length)
