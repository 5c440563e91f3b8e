"""Batched Levenberg–Marquardt for records that are linear in one complex amplitude.

The common phase (and, where the gain is free, the amplitude) is solved exactly before every step; the joint step in
all free parameters is then that of variable projection (Golub & Pereyra 1973, in Kaufman's form), because the residual
is orthogonal to the record itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.products import ProductMaker, Products
from cres.estimation.placement import on_host
from cres.simulation.parameters import AMPLITUDE, PARAMETERS, RADIUS, START_PHASE, parameter_rows
from reconstruction.shapes import PerRow

# The logarithm of a tied strength moves at most so far in a step.
LARGEST_STRENGTH_STEP = 0.5
# So near the optimum a fit whose damped steps promise nothing more is at rest: at a kink, where the radius of the
# strongest record ends the tie, or at the roughness of records near 90°.
STALLED_DECREMENT = 0.5
# The end of the tie is a deep kink where the loss of a long record tells the strength: the full step promises much on
# either side of it. So damped, steps follow the gradient, and one that does not lower χ² there has ended.
KINK_DAMPING = 100.0
KINK_WIDTH = 0.1
# A step that lowers χ² by less than this part of what the quadratic form promised asks for more damping.
TRUSTED_GAIN = 0.25

Parameters = Float[Tensor, "batch 6"]
Information = Float[Tensor, "batch k k"]


@dataclass(frozen=True)
class GaussianPrior:
    """A prior, independent in the six parameters; precision 0 says nothing. Shapes (batch, 6)."""

    mean: Parameters
    precision: Parameters


@dataclass(frozen=True)
class FitOptions:
    """How a fit runs."""

    free: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    """Six limits each; a step ends at a limit."""
    steps: int = 15
    tolerance: float = 0.2
    """Converged when the next step would lower χ² by less: the error is then below half a σ, and that step,
    which is taken, removes it but for what is not quadratic."""

    @property
    def indices(self) -> list[int]:
        """Columns of the free parameters."""
        return [PARAMETERS.index(name) for name in self.free]

    @property
    def amplitude_free(self) -> bool:
        """Whether the gain is fitted, not only the common phase."""
        return "amplitude" in self.free


@dataclass(frozen=True)
class RadialStrength:
    """Norm √Σ|s|² of a noiseless record against the radius, at a fixed energy and pitch angle.

    Two radii, on either side of the best one, give one strength. A record's power also sets its energy loss, so that
    an inner radius of the right strength describes both: in a trap that ignores the radius nothing else is lost.
    In a fit that it ties, radius and amplitude follow one parameter, the logarithm of the strength, and that is what
    "amplitude" in `FitOptions.free` stands for.
    """

    radius_m: Float[Tensor, "radius"]
    norm_volt: Float[Tensor, "radius"]
    slope_m: Float[Tensor, "node"]
    """Derivative of the radius by the logarithm of the strength, at the nodes up to the best."""

    @classmethod
    def measure(cls, apparatus: Apparatus, pitch_angle_deg: float = 89.5, count: int = 1001) -> RadialStrength:
        """Tabulate from the forward model, from the axis to the largest radius."""
        radius = torch.linspace(0, apparatus.largest_radius_m, count, dtype=torch.float64, device=apparatus.device)
        rows = parameter_rows(apparatus.middle_energy_ev, pitch_angle_deg, radius)
        power = apparatus.model.lines(rows).amplitudes.abs().square().sum(1)
        norm = (apparatus.reception.samples * power).sqrt()
        rising = slice(0, int(norm.argmax()) + 1)
        slope = np.gradient(on_host(radius[rising]), on_host(norm[rising].log().clamp_min(-99.0)))
        return cls(radius, norm, torch.from_numpy(slope).to(radius.device))

    @cached_property
    def best(self) -> int:
        """Index of the radius of the strongest record."""
        return int(self.norm_volt.argmax())

    def norm(self, radius_m: PerRow) -> PerRow:
        """Return the norm at radii, linear between the nodes."""
        return _interpolated(radius_m, self.radius_m, self.norm_volt)

    def inner_radius(self, norm_volt: PerRow) -> PerRow:
        """Return the radius inside the best one that has this norm; the best radius for stronger records."""
        best = self.best + 1
        return _interpolated(norm_volt, self.norm_volt[:best], self.radius_m[:best])

    def moved(self, parameters: Float[Tensor, "batch 6"], change: PerRow) -> Float[Tensor, "batch 6"]:
        """Return parameters of a strength e^change times as large: another radius, and so another energy loss.

        The amplitude stays 1 but for records stronger than any radius makes.
        """
        parameters = parameters.clone()
        norm = change.exp() * parameters[:, AMPLITUDE] * self.norm(parameters[:, RADIUS])
        parameters[:, RADIUS] = self.inner_radius(norm)
        parameters[:, AMPLITUDE] = norm / self.norm(parameters[:, RADIUS])
        return parameters

    def directions(self, parameters: Float[Tensor, "batch 6"]) -> Float[Tensor, "batch 2"]:
        """Return the derivatives of radius and amplitude by the logarithm of the strength."""
        along = _interpolated(parameters[:, RADIUS], self.radius_m[: self.best + 1], self.slope_m)
        inside = parameters[:, RADIUS] < self.radius_m[self.best - 1]
        amplitude = parameters[:, AMPLITUDE]
        zero = torch.zeros_like(along)
        return torch.stack([torch.where(inside, along, zero), torch.where(inside, zero, amplitude)], 1)


@dataclass(frozen=True)
class FitResult:
    """Where the fits ended, per start."""

    parameters: Parameters
    information: Information
    """Of the free parameters, prior included, in their order in `FitOptions.free`."""
    chi_square: PerRow
    """Σ |residual|² in units of σ² (2n real numbers), plus the prior's term."""
    steps: Int[Tensor, "batch"]
    converged: Bool[Tensor, "batch"]

    def rows(self, index: Int[Tensor, "row"]) -> FitResult:
        """Return some of the fits."""
        return FitResult(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass
class _State:
    """The best point so far and the normal equations there."""

    parameters: Tensor
    chi_square: Tensor
    gradient: Tensor
    information: Tensor


def fit(
    products: ProductMaker,
    rows: Int[Tensor, "batch"],
    start: Parameters,
    options: FitOptions,
    prior: GaussianPrior | None = None,
    tie: RadialStrength | None = None,
) -> FitResult:
    """Minimise χ² from each start; `rows` says which record of `products` each belongs to.

    `products` are those of `options.free`, with a tie of `(*options.free, "radius_m")`. A start leaves the batch when
    it has converged; those that never do are returned with `converged` false.
    """
    state = _evaluate(products(rows, start), start, options, prior, tie)
    damping = torch.full_like(state.chi_square, 1e-3)
    steps = torch.zeros(len(start), dtype=torch.int64, device=start.device)
    converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    for _ in range(options.steps):
        active = torch.nonzero(~converged)[:, 0]
        step, decrement, promised = _step(state.gradient[active], state.information[active], damping[active])
        trial = moved(state.parameters[active], step, options, tie)
        kink = (damping[active] > KINK_DAMPING) & _at_the_end_of(tie, state.parameters[active], options)
        stalled = (decrement < STALLED_DECREMENT) | kink
        done = torch.where(stalled, promised, decrement) < options.tolerance
        state.parameters[active[done]] = trial[done]
        converged[active[done]] = True
        active, trial = active[~done], trial[~done]
        if not len(active):
            break
        steps[active] += 1
        tried = _evaluate(products(rows[active], trial), trial, options, _rows(prior, active), tie)
        _advance(state, damping, active, tried, decrement[~done])
    return FitResult(state.parameters, state.information, state.chi_square, steps, converged)


def best_fits(fits: FitResult, electron: Int[Tensor, "start"], electrons: int) -> FitResult:
    """Return, for each electron, the one of its fits of the lowest χ²."""
    # sorted by χ², then by electron: the first of each electron is its best
    order = fits.chi_square.argsort(stable=True)
    order = order[electron[order].argsort(stable=True)]
    first = torch.searchsorted(electron[order], torch.arange(electrons, device=electron.device))
    return fits.rows(order[first.clamp(max=len(order) - 1)])


def _at_the_end_of(tie: RadialStrength | None, parameters: Parameters, options: FitOptions) -> Bool[Tensor, "batch"]:
    """Return which fits have about the strength of the strongest radius and are at no limit."""
    if tie is None:
        return torch.zeros(len(parameters), dtype=torch.bool, device=parameters.device)
    strength = parameters[:, AMPLITUDE] * tie.norm(parameters[:, RADIUS]) / tie.norm_volt[tie.best]
    lower, upper = (parameters.new_tensor(limit) for limit in (options.lower, options.upper))
    free = ((parameters > lower) & (parameters < upper)).all(1)
    return free & ((strength - 1).abs() < KINK_WIDTH)


def _rows(prior: GaussianPrior | None, rows: Tensor) -> GaussianPrior | None:
    return None if prior is None else GaussianPrior(prior.mean[rows], prior.precision[rows])


def _advance(state: _State, damping: Tensor, rows: Tensor, trial: _State, promised: PerRow) -> None:
    """Keep the trial where it is no worse. Damp less where it kept its promise, else more.

    Near 90° the record is not smooth in the pitch angle and undamped steps swing about the optimum for ever.
    """
    gain = state.chi_square[rows] - trial.chi_square
    better = gain >= 0
    trusted = gain > TRUSTED_GAIN * promised
    damping[rows] = torch.where(trusted, damping[rows] * 0.1, (damping[rows] * 10).clamp_min(0.3)).clamp(1e-9, 1e9)
    kept = rows[better]
    state.parameters[kept] = trial.parameters[better]
    state.chi_square[kept] = trial.chi_square[better]
    state.gradient[kept] = trial.gradient[better]
    state.information[kept] = trial.information[better]


def _evaluate(
    found: Products,
    parameters: Parameters,
    options: FitOptions,
    prior: GaussianPrior | None,
    tie: RadialStrength | None,
) -> _State:
    """Solve phase and amplitude, return χ², its half gradient and the information matrix of the free parameters.

    A tied amplitude is not solved here: it moves the radius, and so the loss, with it.
    """
    solved = options.amplitude_free and tie is None
    factor = found.overlap / (found.power if solved else found.overlap.abs())
    parameters = _with_factor(parameters, factor, solved)
    if tie is not None:
        found = _tied(found, tie.directions(parameters), options)
    size = _column_sizes(factor.abs(), options)
    turn = (factor / factor.abs()).conj()[:, None]
    gradient = size * ((turn * found.with_data).real - factor.abs()[:, None] * found.with_record)
    information = size[:, :, None] * size[:, None, :] * found.information
    fitted = 2 * (factor.conj() * found.overlap).real - factor.abs().square() * found.power
    chi_square = found.data_power - fitted
    if prior is not None:
        pull = (prior.mean - parameters)[:, options.indices]
        precision = prior.precision[:, options.indices]
        gradient = gradient + precision * pull
        information = information + torch.diag_embed(precision)
        chi_square = chi_square + (precision * pull.square()).sum(1)
    return _State(parameters, chi_square, gradient, information)


def _column_sizes(size: PerRow, options: FitOptions) -> Float[Tensor, "batch k"]:
    """Return what each derivative grows by; ∂s/∂A = s/A at the new amplitude keeps its size."""
    sizes = size[:, None].expand(-1, len(options.free)).clone()
    if options.amplitude_free:
        sizes[:, options.free.index("amplitude")] = 1.0
    return sizes


def _tied(found: Products, directions: Float[Tensor, "batch 2"], options: FitOptions) -> Products:
    """Turn products of (free, radius) into those of the free parameters, the amplitude's column along the tie."""
    count = len(options.free)
    strength = options.free.index("amplitude")
    turn = torch.eye(count, count + 1, dtype=torch.float64, device=directions.device).repeat(len(directions), 1, 1)
    turn[:, strength, count], turn[:, strength, strength] = directions.unbind(1)
    return found._replace(
        with_data=(turn.to(torch.complex128) @ found.with_data[:, :, None])[:, :, 0],
        with_record=(turn @ found.with_record[:, :, None])[:, :, 0],
        information=turn @ found.information @ turn.transpose(1, 2),
    )


def _with_factor(parameters: Parameters, factor: Complex[Tensor, "batch"], solved: bool) -> Parameters:
    parameters = parameters.clone()
    parameters[:, START_PHASE] += factor.angle()
    if solved:
        parameters[:, AMPLITUDE] *= factor.abs()
    return parameters


def _step(gradient: Tensor, information: Tensor, damping: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the damped step and the falls of χ² that a full step, gᵀ I⁻¹ g, and the damped one promise."""
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(1e-300).rsqrt()
    scaled = information * scale[:, :, None] * scale[:, None, :]
    target = gradient * scale
    identity = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    damped = torch.linalg.solve(scaled + damping[:, None, None] * identity, target)
    full = torch.linalg.solve(scaled + 1e-12 * identity, target)
    return damped * scale, (full * target).sum(1), (damped * target).sum(1)


def moved(parameters: Tensor, step: Tensor, options: FitOptions, tie: RadialStrength | None) -> Tensor:
    """Return parameters after a step in the free ones, within the limits."""
    moved = parameters.clone()
    moved[:, options.indices] += step
    if tie is not None:
        moved[:, AMPLITUDE] = parameters[:, AMPLITUDE]
        change = step[:, options.free.index("amplitude")].clamp(-LARGEST_STRENGTH_STEP, LARGEST_STRENGTH_STEP)
        moved = tie.moved(moved, change)
    lower, upper = (
        torch.tensor(limit, dtype=moved.dtype, device=moved.device) for limit in (options.lower, options.upper)
    )
    return moved.clamp(lower, upper)


def _interpolated(x: Tensor, nodes: Tensor, values: Tensor) -> Tensor:
    """Return values linear between rising nodes (node,), constant beyond them, at x of any shape."""
    upper = torch.searchsorted(nodes, x.contiguous(), right=True).clamp(1, len(nodes) - 1)
    left, right = nodes[upper - 1], nodes[upper]
    part = ((x - left) / (right - left).clamp_min(torch.finfo(nodes.dtype).tiny)).clamp(0, 1)
    return torch.lerp(values[upper - 1], values[upper], part)
