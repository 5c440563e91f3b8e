"""Batched Levenberg–Marquardt for records that are linear in one complex amplitude.

The common phase (and, where the gain is free, the amplitude) is solved exactly before every step; the joint step in
all free parameters is then that of variable projection (Golub & Pereyra 1973, in Kaufman's form), because the residual
is orthogonal to the record itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from cres.estimation.noise import NoiseModel
from cres.shapes import ComplexSeries, PerElectron

PARAMETERS = ("energy_ev", "pitch_angle_deg", "radius_m", "start_phase_rad", "axial_phase_rad", "amplitude")
ENERGY, PITCH, RADIUS, START_PHASE, AXIAL_PHASE, AMPLITUDE = range(6)

# A tied parameter moves after the step was computed, and may raise χ² a little on the way to the joint optimum.
TIE_SLACK = 0.5
# A step that lowers χ² by less than this part of what the quadratic form promised asks for more damping.
TRUSTED_GAIN = 0.25

Parameters = Float[Tensor, "batch 6"]
Information = Float[Tensor, "batch k k"]


@runtime_checkable
class ForwardModel(Protocol):
    """Noiseless records and their derivatives: `cres.simulation.ForwardModel`."""

    def __call__(self, parameters: Tensor) -> Tensor:
        """Return complex volts (batch, time)."""
        ...

    def jacobian(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return complex volts (batch, time) and derivatives (batch, 6, time)."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """A prior, independent in the six parameters; precision 0 says nothing. Shapes (batch, 6)."""

    mean: Parameters
    precision: Parameters


@dataclass(frozen=True)
class Options:
    """How a fit runs."""

    free: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    """Six limits each; a step ends at a limit."""
    steps: int = 15
    tolerance: float = 1e-2
    """Converged when the next step would lower χ² by less: the error is then below a tenth of a σ, and that step,
    which is taken, removes it."""

    @property
    def indices(self) -> list[int]:
        """Columns of the free parameters."""
        return [PARAMETERS.index(name) for name in self.free]

    @property
    def amplitude_free(self) -> bool:
        """Whether the gain is fitted, not only the common phase."""
        return "amplitude" in self.free


@dataclass(frozen=True)
class Fit:
    """Where the fits ended, per start."""

    parameters: Parameters
    information: Information
    """Of the free parameters, prior included, in their order in `Options.free`."""
    chi_square: PerElectron
    """Σ |residual|² in units of σ² (2n real numbers), plus the prior's term."""
    steps: Int[Tensor, "batch"]
    converged: Bool[Tensor, "batch"]

    def rows(self, index: Int[Tensor, "row"]) -> Fit:
        """Return some of the fits."""
        return Fit(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass
class _State:
    """The best point so far and the normal equations there."""

    parameters: Tensor
    chi_square: Tensor
    gradient: Tensor
    information: Tensor


def fit(
    model: ForwardModel,
    data: ComplexSeries,
    start: Parameters,
    noise: NoiseModel,
    options: Options,
    prior: Gaussian | None = None,
    tie: Callable[[Parameters], Parameters] | None = None,
) -> Fit:
    """Minimise χ² from each start (rows of `data` and `start` belong together).

    tie: makes fixed parameters follow the free ones before each evaluation. A row leaves the batch when it has
    converged; rows that never do are returned with `converged` false.
    """
    whitened = noise.whiten(data)
    state = _evaluate(model, whitened, start, noise, options, prior)
    damping = torch.full_like(state.chi_square, 1e-3)
    steps = torch.zeros(len(start), dtype=torch.int64)
    converged = torch.zeros(len(start), dtype=torch.bool)
    for _ in range(options.steps):
        rows = torch.nonzero(~converged)[:, 0]
        step, decrement = _step(state.gradient[rows], state.information[rows], damping[rows])
        trial = _moved(state.parameters[rows], step, options)
        done = decrement < options.tolerance
        state.parameters[rows[done]] = trial[done]
        converged[rows[done]] = True
        rows, trial = rows[~done], trial[~done]
        if not len(rows):
            break
        trial = trial if tie is None else tie(trial)
        steps[rows] += 1
        tried = _evaluate(model, whitened[rows], trial, noise, options, _rows(prior, rows))
        _advance(state, damping, rows, tried, decrement[~done], TIE_SLACK if tie else 0.0)
    return Fit(state.parameters, state.information, state.chi_square, steps, converged)


def _rows(prior: Gaussian | None, rows: Tensor) -> Gaussian | None:
    return None if prior is None else Gaussian(prior.mean[rows], prior.precision[rows])


def _advance(state: _State, damping: Tensor, rows: Tensor, trial: _State, promised: PerElectron, slack: float) -> None:
    """Keep the trial where it is no worse by `slack`. Damp less where it kept its promise, else more.

    Near 90° the record is not smooth in the pitch angle and undamped steps swing about the optimum for ever.
    """
    gain = state.chi_square[rows] - trial.chi_square
    better = gain > -slack
    trusted = gain > TRUSTED_GAIN * promised
    damping[rows] = torch.where(trusted, damping[rows] * 0.1, (damping[rows] * 10).clamp_min(0.3)).clamp(1e-9, 1e9)
    kept = rows[better]
    state.parameters[kept] = trial.parameters[better]
    state.chi_square[kept] = trial.chi_square[better]
    state.gradient[kept] = trial.gradient[better]
    state.information[kept] = trial.information[better]


def _evaluate(
    model: ForwardModel,
    whitened: Complex[Tensor, "batch time"],
    parameters: Parameters,
    noise: NoiseModel,
    options: Options,
    prior: Gaussian | None,
) -> _State:
    """Solve phase and amplitude, return χ², its half gradient and the information matrix of the free parameters."""
    series, derivatives = model.jacobian(parameters)
    series, derivatives = noise.whiten(series), noise.whiten(derivatives)
    overlap = (series.conj() * whitened).sum(1)
    factor = overlap / series.abs().square().sum(1) if options.amplitude_free else overlap / overlap.abs()
    parameters = _with_factor(parameters, factor, options)
    residual = whitened - factor[:, None] * series
    columns = _real(derivatives[:, options.indices] * _column_factors(factor, options)[:, :, None])
    gradient = (columns @ _real(residual)[:, :, None])[:, :, 0]
    information = columns @ columns.transpose(1, 2)
    chi_square = residual.abs().square().sum(1)
    if prior is not None:
        pull = (prior.mean - parameters)[:, options.indices]
        precision = prior.precision[:, options.indices]
        gradient = gradient + precision * pull
        information = information + torch.diag_embed(precision)
        chi_square = chi_square + (precision * pull.square()).sum(1)
    return _State(parameters, chi_square, gradient, information)


def _real(values: Tensor) -> Tensor:
    """Return complex (…, time) as real (…, 2 time)."""
    return torch.view_as_real(values).flatten(-2)


def _column_factors(factor: Complex[Tensor, "batch"], options: Options) -> Complex[Tensor, "batch k"]:
    """Return what each derivative is multiplied by; ∂s/∂A = s/A at the new amplitude keeps its size."""
    factors = factor[:, None].expand(-1, len(options.free)).clone()
    if options.amplitude_free:
        factors[:, options.free.index("amplitude")] = factor / factor.abs()
    return factors


def _with_factor(parameters: Parameters, factor: Complex[Tensor, "batch"], options: Options) -> Parameters:
    parameters = parameters.clone()
    parameters[:, START_PHASE] += factor.angle()
    if options.amplitude_free:
        parameters[:, AMPLITUDE] *= factor.abs()
    return parameters


def _step(gradient: Tensor, information: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Return the damped step and the undamped decrement gᵀ I⁻¹ g, the fall of χ² that a full step promises."""
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(1e-300).rsqrt()
    scaled = information * scale[:, :, None] * scale[:, None, :]
    target = gradient * scale
    identity = torch.eye(scaled.shape[1], dtype=scaled.dtype)
    damped = torch.linalg.solve(scaled + damping[:, None, None] * identity, target)
    full = torch.linalg.solve(scaled + 1e-12 * identity, target)
    return damped * scale, (full * target).sum(1)


def _moved(parameters: Tensor, step: Tensor, options: Options) -> Tensor:
    moved = parameters.clone()
    moved[:, options.indices] += step
    lower, upper = (torch.tensor(limit, dtype=moved.dtype) for limit in (options.lower, options.upper))
    return moved.clamp(lower, upper)
