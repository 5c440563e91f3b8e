"""Super-resolution: from the hardest particles of a jet to all of them.

An encoder reads the particles that are seen. From what it tells of the jet a small flow draws how many there are, and
flow matching draws the others, which look at the features of those that are seen. What is drawn is no best guess of
each particle but a sample: as scattered as the particles themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from collider.jets.features import MOMENTA, transverse
from collider.jets.learning.drawing import LEAST_GEV, DrawnJets, Read, hardest_first, particle_encoder, read_jets
from collider.jets.networks.drawing import AskedParticles, ParticleFlow, mean_of_particles
from collider.jets.networks.numbers import NUMBERS, Frame, ParticleNumbers, Particles, Real, axis_of
from reconstruction.errors import UserError
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.flow_matching import FLOW_STEPS, FlowMatching
from reconstruction.models.scaling import Standardise
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch
from reconstruction.shapes import Features, Lengths
from reconstruction.training.learning.tasks.side_task import SideTask
from reconstruction.training.network.reconstructor import Reconstructor

AT_ONCE = 256
"""Jets that are completed together."""


@dataclass(frozen=True)
class JetSuperResolutionOptions:
    """From how many particles of a jet all others are drawn, up to data.particles.

    Args:
        view: The view whose encoder reads the particles that are seen.
        seen: So many are seen of each jet, the hardest.
        width: Width of what draws the others.
        depth: Its blocks of attention.
        heads: Its attention heads; the width is a multiple of their number.
        number_width: Width of the perceptron that draws how many there are.

    """

    view: str
    seen: int = 30
    width: int = 64
    depth: int = 3
    heads: int = 4
    number_width: int = 128

    def __post_init__(self) -> None:
        for name in ("seen", "width", "depth", "heads", "number_width"):
            if getattr(self, name) < 1:
                raise UserError(f"model.super_resolution.{name} is {getattr(self, name)}, but must be 1 or more")

    def task(self, reconstructor: Reconstructor) -> JetSuperResolution:
        """Return what learns it."""
        return JetSuperResolution(self, reconstructor)


class Heard(NamedTuple):
    """What an encoder tells of the particles that are seen."""

    jet: Features
    particles: Tensor
    real: Real


class JetSuperResolution(SideTask):
    """The flow of the number of particles, and that of those that are not seen, on a reconstructor's encoder."""

    name: ClassVar[str] = "super_resolution"
    reads_clean: ClassVar[bool] = False
    alone = True
    most: Tensor
    """Particles of a jet that were read in the training."""

    def __init__(self, options: JetSuperResolutionOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        encoder, view = particle_encoder("model.super_resolution", options.view, reconstructor)
        self.options = options
        self._encoder, self._view = (encoder,), (view,)  # the reconstructor's own, and no second name of them
        told = encoder.output_width
        self.counts, self.numbers = Standardise(1), ParticleNumbers()
        self.count = FlowMatching(1, told, options.number_width)
        self.flow = ParticleFlow(
            told + 1, options.width, options.depth, options.heads, read=encoder.sequence_width
        )  # fmt: skip
        self.register_buffer("most", torch.zeros((), dtype=torch.int64))

    def let_learn(self) -> None:
        """Let all of it learn, the encoder with its pooling."""
        self.requires_grad_(True)
        self._encoder[0].requires_grad_(True)

    @torch.no_grad()
    def fit(
        self, reconstructor: Reconstructor, batches: Callable[[], Iterable[Batch]], truths: Callable[[], Tensor]
    ) -> None:
        """Fit the scales of what is not seen. Raises UserError where all particles are."""
        if self.counts.fitted:
            return
        jets = [read_jets(batch) for batch in batches()]
        seen, most = self.options.seen, jets[0].particles.shape[1]
        hidden = [self._hidden(read) for read in jets]
        lengths = torch.cat([read.lengths for read in jets])
        if not bool((lengths > seen).any()):
            raise UserError(
                f"model.super_resolution.seen is {seen}, and no jet of the training has more particles than that "
                f"(data.particles is {most}): give fewer, or read more"
            )
        self.most.fill_(most)
        self.counts.fit(lengths[lengths > seen].double().unsqueeze(1))
        self.numbers.fit(
            torch.cat([one.particles for one in hidden]),
            torch.cat([one.real for one in hidden]),
            torch.cat([_softest(read, seen) for read in jets]),
        )

    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the loss of a batch: squared errors of both velocities."""
        return self._loss(noisy, random, draws=True)

    def of_nothing(
        self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
    ) -> Tensor | None:
        """Return the loss of velocities of zero: who knows the scales alone."""
        return self._loss(noisy, random, draws=False)

    def _loss(self, batch: Batch, random: KeyedRandom, draws: bool) -> Tensor:
        random, read = random.scoped("super_resolution"), read_jets(batch)
        self._require_more(read.particles.shape[1])
        hidden, seen = self._hidden(read), self.options.seen
        more = hidden.real.any(dim=1)
        numbers = self.numbers(hidden.particles, hidden.real, _softest(read, seen))
        dtype = numbers.dtype
        # a whole number becomes a density
        spread = read.lengths.double() + random.uniform(1, stream="number").squeeze(1).double() - 0.5
        count = self.counts(spread.unsqueeze(1)).to(dtype)
        noises = [random.normal(1, stream="count").to(dtype),
                  random.normal(*numbers.shape[1:], stream="particles").to(dtype)]  # fmt: skip
        times = [random.uniform(1, stream=f"time of the {name}").to(dtype) for name in ("count", "particles")]
        if draws:
            told = self._told(read)
            of_count = self.count.misfit(count, told.jet.to(dtype), noises[0], times[0])
            asked = self._asked(told, read.lengths, hidden.real)
            of_particles = self.flow.misfits(numbers, asked, noises[1], times[1])
        else:
            of_count = (count - noises[0]).square()
            of_particles = mean_of_particles((numbers - noises[1]).square(), hidden.real)
        # a jet of which all is seen has nothing to say
        each = (of_count.squeeze(1) + of_particles) * more
        return each.sum() / more.sum().clamp(min=1)

    @torch.no_grad()
    def complete(self, particles: Particles, lengths: Lengths, seed: int = 0, steps: int = FLOW_STEPS) -> DrawnJets:
        """Return jets with all their particles, of which only the hardest of `particles` are looked at.

        particles: as in a file, (jet, particle, PARTICLE_COLUMNS), the hardest first. The same seed draws the same
        ones, on any device. Raises UserError before training.
        """
        if not self.counts.fitted:
            raise UserError("this super-resolution was not trained: fit it, or load a checkpoint of it")
        seen = self.options.seen
        shown = Read(particles[:, :seen], valid_positions(lengths.clamp(max=seen), min(seen, particles.shape[1])))
        random = torch.Generator().manual_seed(seed)
        parts = [
            self._completed(Read(*part), random, steps)
            for part in zip(*(columns.split(AT_ONCE) for columns in shown), strict=True)
        ]
        return DrawnJets(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _completed(self, shown: Read, random: torch.Generator, steps: int) -> DrawnJets:
        seen, most = self.options.seen, int(self.most)
        told = self._told(shown)
        weights = told.jet
        noise = torch.randn(len(weights), 1, generator=random).to(weights)
        count = self.counts.inverse(self.count.flown(noise, told.jet, steps)).squeeze(1).round()
        whole = shown.lengths >= seen
        lengths = torch.where(whole, count.clamp(seen, most), shown.lengths.double()).long()
        real = valid_positions((lengths - seen).clamp(min=0), most - seen)
        noise = torch.randn(len(weights), most - seen, NUMBERS, generator=random).to(weights)
        made = self.flow.flown(noise * real.unsqueeze(-1), self._asked(told, lengths, real), steps)
        frame = Frame(_softest(shown, seen), *axis_of(shown.particles, shown.real))
        others = self.numbers.particles(made.double(), real, frame).to(shown.particles.dtype)
        blank = shown.particles.new_zeros(len(others), seen - shown.particles.shape[1], others.shape[2])
        kept = shown.particles * shown.real.unsqueeze(-1)
        there = torch.nn.functional.pad(shown.real, (0, blank.shape[1]))
        return hardest_first(torch.cat([kept, blank, others], dim=1), torch.cat([there, real], dim=1))

    def _told(self, read: Read) -> Heard:
        """Return what the encoder tells of the particles that are seen."""
        encoder, seen = self._encoder[0], self.options.seen
        shown, real = read.particles[:, :seen], read.real[:, :seen]
        view = self._view[0](shown * real.unsqueeze(-1))
        values, lengths = encoder.sequence(view.series, real.sum(dim=1))
        return Heard(encoder.pooling(values, lengths).features, values, real)

    def _asked(self, told: Heard, lengths: Lengths, real: Real) -> AskedParticles:
        count = self.counts(lengths.double().unsqueeze(1)).to(told.jet.dtype)
        return AskedParticles(torch.cat([told.jet, count], dim=1), real, beside=(told.particles, told.real))

    def _hidden(self, read: Read) -> Read:
        return Read(read.particles[:, self.options.seen :], read.real[:, self.options.seen :])

    def _require_more(self, read: int) -> None:
        if read <= self.options.seen:
            raise UserError(
                f"model.super_resolution.seen is {self.options.seen}, and {read} particles of a jet are read: there "
                "is nothing to add, raise data.particles"
            )


def _softest(read: Read, seen: int) -> Tensor:
    """Return the pT in GeV of the softest particle that is seen, (batch,): none of the others is harder."""
    pt = transverse(read.particles[:, :seen, :MOMENTA]).masked_fill(~read.real[:, :seen], torch.inf)
    return pt.amin(dim=1).clamp(min=LEAST_GEV).double()
