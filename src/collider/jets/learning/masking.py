"""Masked-particle pre-training: some particles of a jet are hidden, and the encoder learns to rebuild them.

Golling et al. 2024, arXiv:2401.13537, hide particles anywhere; here those of large pT may be hidden more often.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from collider.jets.features import KINEMATIC, MOMENTA, SEED_VECTOR, transverse
from collider.jets.learning.rebuilt import RebuiltJets, jet_mass_loss, mass_shell_loss, rebuilt_jets
from collider.jets.networks.particles import HiddenParticles, ParticleEncoder
from collider.jets.networks.scales import ParticleScales
from reconstruction.errors import UserError
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.precision import in_precision
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Inputs, Masks
from reconstruction.shapes import Bool, Float, Lengths, Series
from reconstruction.training.learning.tasks.masking import HidingTask
from reconstruction.training.network.reconstructor import Reconstructor

REBUILT: Final = SEED_VECTOR
"""What is rebuilt of a particle: log1p pT, Δη, Δφ, log1p E, in the scales of the encoder's features."""
PLACES: Final = [KINEMATIC.index(name) for name in REBUILT]
_LEAST: Final = 1e-12

Rebuilt = Float[Tensor, "particle 4"]


class ParticleLoss(nn.Module, ABC):
    """Abstract loss of rebuilt particles: one number for all of a batch."""

    @abstractmethod
    def forward(self, made: Rebuilt, true: Rebuilt) -> Float[Tensor, ""]:
        """Return the loss of particles as REBUILT names them."""


class ParticleMSE(ParticleLoss):
    """Mean squared error of the four numbers; it takes −π and π for far apart."""

    def forward(self, made: Rebuilt, true: Rebuilt) -> Float[Tensor, ""]:
        """Return the mean."""
        return (made - true).square().mean()


class ConservationLoss(ParticleLoss):
    """RMSE of pT and E with a penalty of their bias, L1 of η, and 1 − cos of the difference in φ.

    L = pt (RMSE + γ bias²) + eta L1 + phi (1 − cos Δφ) + energy (RMSE + γ bias²), the bias being the mean difference.

    Args:
        pt: weight of the transverse momentum.
        eta: weight of the pseudorapidity.
        phi: weight of the azimuth.
        energy: weight of the energy.
        gamma: weight of the bias.

    """

    def __init__(
        self, pt: float = 1.0, eta: float = 1.0, phi: float = 1.0, energy: float = 1.0, gamma: float = 0.1
    ) -> None:
        super().__init__()
        for name, value in (("pt", pt), ("eta", eta), ("phi", phi), ("energy", energy), ("gamma", gamma)):
            if not value >= 0:
                raise UserError(f"{name} of a ConservationLoss is a weight, 0 or more, not {value}")
        self.pt, self.eta, self.phi, self.energy, self.gamma = pt, eta, phi, energy, gamma

    def forward(self, made: Rebuilt, true: Rebuilt) -> Float[Tensor, ""]:
        """Return the weighted sum."""
        away = made - true
        log_pt, eta, phi, log_energy = away.unbind(dim=1)
        return (
            self.pt * self._spread(log_pt)
            + self.eta * eta.abs().mean()
            + self.phi * (1 - phi.cos()).mean()
            + self.energy * self._spread(log_energy)
        )

    def _spread(self, away: Tensor) -> Tensor:
        rms = away.square().mean().clamp(min=_LEAST).sqrt()
        return rms + self.gamma * away.mean().square()


@dataclass(frozen=True)
class MaskedParticleOptions:
    """What is hidden of a jet, and how it is judged what is rebuilt.

    Args:
        share: Share of the particles that are hidden; one at least, and never all.
        towards_pt: 0 hides any particle, 1 in proportion to its pT, between a mixture of both.
        loss: ConservationLoss or ParticleMSE.
        mass_shell: Weight of m² = E² − |p|² of each rebuilt particle beside this loss: distance of ln(E/|p|).
        jet_mass: Weight of m² = E² − |p|² of the whole jet with the rebuilt particles: distance of ln(1 + m²/GeV²).
        weight: Weight of this loss beside that of the targets.
        alone: Train the encoders on this task only; no classes or masses are needed.

    """

    share: float = 0.15
    towards_pt: float = 0.5
    loss: ParticleLoss | None = None
    mass_shell: float = 0.0
    jet_mass: float = 0.0
    weight: float = 1.0
    alone: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"model.masking.share is {self.share:g}, but must lie between 0 and 1, without the two")
        if not 0 <= self.towards_pt <= 1:
            raise UserError(f"model.masking.towards_pt is {self.towards_pt:g}, but must lie in [0, 1]")
        for name in ("mass_shell", "jet_mass"):
            if not getattr(self, name) >= 0:
                raise UserError(f"model.masking.{name} is {getattr(self, name):g}, but a weight is 0 or more")
        if not self.weight > 0:
            raise UserError(f"model.masking.weight is {self.weight:g}, but must be more than 0")

    def task(self, reconstructor: Reconstructor) -> MaskedParticles:
        """Return what learns it."""
        return MaskedParticles(self, reconstructor)


class Rebuilding(NamedTuple):
    """Hidden particles of a batch, one after the other, and which they are."""

    made: Tensor
    true: Tensor
    hidden: Bool[Tensor, "batch particle"]
    series: Series

    def nothing(self) -> Rebuilding:
        """Return the same for who says the mean of all particles."""
        return self._replace(made=torch.zeros_like(self.true))

    def jets(self, scales: ParticleScales) -> RebuiltJets:
        """Return them in GeV, with the jets that they are of."""
        return rebuilt_jets(self.made, self.true, self.hidden, self.series, scales, PLACES)


class MaskedParticles(HidingTask):
    """A decoder on each of a reconstructor's encoders, and the loss of the particles that they rebuild.

    The encoders stay the reconstructor's own, and so do the scales of the features.
    """

    def __init__(self, options: MaskedParticleOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        self.options, self.alone = options, options.alone
        self.criterion = options.loss or ConservationLoss()
        encoders = reconstructor.fusion.encoders
        for name, encoder in encoders.items():
            if not isinstance(encoder, ParticleEncoder):
                raise UserError(
                    f"model.masking hides particles, and the encoder {name!r} ({type(encoder).__name__}) reads none "
                    "that are hidden: use one of collider.jets.networks"
                )
        widths = {name: _encoder(reconstructor, name).sequence_width for name in encoders}
        self.blanks = nn.ModuleDict({name: nn.Linear(1, width) for name, width in widths.items()})
        """What stands in the place of a hidden particle, by its rank in pT."""
        self.decoders = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(REBUILT)))
                for name, width in widths.items()
            }
        )
        self.learns = [parameter for name in encoders for parameter in _learning(_encoder(reconstructor, name))]

    def let_learn(self) -> None:
        """Let decoders and encoders learn, without what only the targets need."""
        self.requires_grad_(True)
        for parameter in self.learns:
            parameter.requires_grad_(True)

    def forward(
        self, reconstructor: Reconstructor, inputs: Inputs, masks: Masks, random: KeyedRandom, rebuild: bool = True
    ) -> Tensor:
        """Return the weighted mean loss of rebuilding what is hidden, or of who says the mean of all particles."""
        losses = []
        for name in self.decoders:
            found = self.rebuilt(name, reconstructor, inputs, masks, random)
            scales = _encoder(reconstructor, name).scales
            losses.append(self._loss(found if rebuild else found.nothing(), scales))
        return self.options.weight * torch.stack(losses).mean()

    def _loss(self, found: Rebuilding, scales: ParticleScales) -> Tensor:
        if not len(found.true):  # of a batch without any hidden particle there is nothing to learn
            return found.made.sum()
        loss: Tensor = self.criterion(found.made, found.true)
        for weight, term in ((self.options.mass_shell, mass_shell_loss), (self.options.jet_mass, jet_mass_loss)):
            if weight:
                loss = loss + weight * term(found.jets(scales)).to(loss.dtype)
        return loss

    def rebuilt(
        self, name: str, reconstructor: Reconstructor, inputs: Inputs, masks: Masks, random: KeyedRandom
    ) -> Rebuilding:
        """Return the hidden particles of a view as they are rebuilt, and as they are, in the scales of features."""
        encoder = _encoder(reconstructor, name)
        view, lengths = reconstructor.seen(name, inputs, masks)
        hidden = drawn(self.options, view.series, lengths, random.scoped(f"masking {name}"))
        values = encoder.sequence(view.series, lengths, hidden=HiddenParticles(hidden, self._tokens(name, hidden)))
        features, _ = encoder.scales(view.series)
        made = self.decoders[name](values.values[hidden])
        return Rebuilding(in_precision(made, features.dtype), features[hidden][:, PLACES], hidden, view.series)

    def _tokens(self, name: str, hidden: Tensor) -> Tensor:
        """Return what stands in the place of each particle: it knows its rank in pT."""
        weight = self.blanks[name].weight
        rank = torch.arange(hidden.shape[1], device=hidden.device, dtype=weight.dtype) / hidden.shape[1]  # type: ignore[arg-type]
        tokens: Tensor = self.blanks[name](rank.unsqueeze(1))
        return tokens.unsqueeze(0).expand(len(hidden), -1, -1)


def drawn(
    options: MaskedParticleOptions, series: Tensor, lengths: Lengths | None, random: KeyedRandom
) -> Bool[Tensor, "batch particle"]:
    """Return which particles are hidden: of each jet a share, drawn without replacement.

    Drawn with weights w by the largest of ln w + Gumbel noise (Kool, van Hoof, Welling 2019, arXiv:1903.06059).
    """
    count = series.shape[1]
    real = series[..., 3] > 0
    if lengths is not None:
        real = real & valid_positions(lengths, count)
    pt = transverse(series[..., :MOMENTA]).float() * real
    number = real.sum(dim=1, keepdim=True)
    by_pt = pt / pt.sum(dim=1, keepdim=True).clamp(min=_LEAST)
    weight = options.towards_pt * by_pt + (1 - options.towards_pt) / number.clamp(min=1)
    uniform = random.uniform(count, stream="hidden").clamp(min=_LEAST)
    score = weight.clamp(min=_LEAST).log() - (-uniform.log()).clamp(min=_LEAST).log()
    score = score.masked_fill(~real, -torch.inf)
    wanted = torch.minimum((options.share * number).round().clamp(min=1), (number - 1).clamp(min=0).float())
    rank = score.argsort(dim=1, descending=True).argsort(dim=1)
    return (rank < wanted) & real


def _encoder(reconstructor: Reconstructor, name: str) -> ParticleEncoder:
    encoder = reconstructor.fusion.encoders[name]
    assert isinstance(encoder, ParticleEncoder)
    return encoder


def _learning(encoder: ParticleEncoder) -> list[nn.Parameter]:
    """Return what learns of an encoder: all but its pooling, which only targets need."""
    pooling = {id(parameter) for parameter in encoder.pooling.parameters()}
    return [parameter for parameter in encoder.parameters() if id(parameter) not in pooling]
