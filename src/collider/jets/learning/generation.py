"""Generation: jets drawn for a given class and transverse momentum, by what an encoder of particles tells of real ones.

First a small flow draws the outline of a jet: how many particles it has, where its axis lies, its mass, and the share
of the momentum that these particles carry. Then its particles are drawn, in one of two ways. `flow`: noise flows into
the numbers of all particles at once, and an encoder reads the half-made jet on the way, as Mikuni and Nachman 2024,
arXiv:2404.16091, let one network tell classes and generate. `variational`: the encoder tells latent numbers of real
jets, of which a decoder makes a density of each particle (Kingma & Welling 2014, arXiv:1312.6114, eq. 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from collider.jets.features import series_of
from collider.jets.learning.drawing import (
    LEAST_GEV,
    DrawnJets,
    Read,
    hardest_first,
    momentum_and_mass,
    particle_encoder,
    read_jets,
)
from collider.jets.making.classes import KINDS
from collider.jets.networks.drawing import AskedParticles, Condition, ParticleDecoder, ParticleFlow, mean_of_particles
from collider.jets.networks.numbers import (
    NUMBERS,
    PARTICLE_KINDS,
    Drawn,
    Frame,
    ParticleNumbers,
    Real,
    axis_of,
    centre_of,
)
from collider.jets.schema import CLASS
from reconstruction.errors import UserError, nearest
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.flow_matching import FLOW_STEPS, FlowMatching
from reconstruction.models.scaling import Standardise
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch
from reconstruction.shapes import Bool, Float, PerRow, Targets
from reconstruction.training.learning.tasks.generation import (
    MARGIN,
    Conditions,
    divergence,
    gaussian_of,
    gaussian_width,
)
from reconstruction.training.learning.tasks.side_task import SideTask
from reconstruction.training.network.reconstructor import Reconstructor

PT: Final = "jet_pt"
OUTLINE: Final = ("multiplicity", "jet_eta", "log_mass_share", "log_pt_share")
"""Number of particles, η of the axis, ln(mass/pT), ln(ΣpT/pT) of the particles that are drawn."""
AT_ONCE: Final = 256
"""Jets that are drawn together."""
MOST_SCALED: Final = 4.0
"""The angles of a drawn jet are scaled by no more than this, and by no less than its inverse."""
SCALED_ROUNDS: Final = 6
"""The mass is nearly proportional to the angles: of 600 drawn jets that of 98 % came within 0.1 % of its outline."""


@dataclass(frozen=True)
class JetGenerationOptions:
    """How jets are drawn for given jet_class and jet_pt, which data.targets has to name.

    Args:
        view: The view whose encoder reads jets.
        method: How particles are drawn: flow (flow matching of all of them at once) or variational.
        prior: Where the latent numbers of a variational model come from: normal, or a flow that learns it.
        latent: How many latent numbers there are.
        width: Width of what draws particles.
        depth: Its blocks of attention.
        heads: Its attention heads; the width is a multiple of their number.
        outline_width: Width of the perceptron that draws the outline, and of what tells latent numbers.

    """

    view: str
    method: Literal["flow", "variational"] = "flow"
    prior: Literal["normal", "flow"] = "flow"
    latent: int = 16
    width: int = 64
    depth: int = 3
    heads: int = 4
    outline_width: int = 128

    def __post_init__(self) -> None:
        for name in ("latent", "width", "depth", "heads", "outline_width"):
            if getattr(self, name) < 1:
                raise UserError(f"model.generation.{name} is {getattr(self, name)}, but must be 1 or more")

    def task(self, reconstructor: Reconstructor) -> JetGeneration:
        """Return what learns it."""
        return JetGeneration(self, reconstructor)


class Sketch(NamedTuple):
    """What is known of jets before their particles are drawn: the condition, where particles are, and their frame."""

    condition: Condition
    real: Real
    frame: Frame


class JetGeneration(SideTask):
    """The outline's flow, and what draws particles on a reconstructor's encoder."""

    name: ClassVar[str] = "generation"
    reads_clean: ClassVar[bool] = False
    alone = True
    known: Tensor
    """Of which classes there were jets to learn from, (class,)."""
    low: Tensor
    high: Tensor

    def __init__(self, options: JetGenerationOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        encoder, view = particle_encoder("model.generation", options.view, reconstructor)
        self.options, self.targets = options, reconstructor.targets
        for name in (CLASS, PT):
            if name not in self.targets:
                raise UserError(
                    f"model.generation draws jets of a given class and pT, and {name} is none of data.targets"
                    f"{nearest(name, self.targets)}: give data.targets=[{CLASS},{PT}]"
                )
        self._encoder, self._view = (encoder,), (view,)  # the reconstructor's own, and no second name of them
        given, width = len(KINDS) + 1, options.outline_width
        condition, size = given + len(OUTLINE), (options.width, options.depth, options.heads)
        self.conditions, self.outlines, self.numbers = Conditions(1), Standardise(len(OUTLINE)), ParticleNumbers()
        self.outline = FlowMatching(len(OUTLINE), given, width)
        self.flow: ParticleFlow | None = None
        self.decoder: ParticleDecoder | None = None
        self.prior: FlowMatching | None = None
        if options.method == "flow":
            self.flow = ParticleFlow(condition, *size, read=encoder.sequence_width)
        else:
            latent = options.latent
            self.recognition = nn.Sequential(
                nn.Linear(encoder.output_width + condition, width), nn.GELU(), nn.Linear(width, gaussian_width(latent))
            )
            self.decoder = ParticleDecoder(condition + latent, *size)
            self.prior = FlowMatching(latent, condition, width) if options.prior == "flow" else None
        self.register_buffer("known", torch.zeros(len(KINDS), dtype=torch.bool))
        self.register_buffer("low", torch.zeros(len(OUTLINE), dtype=torch.float64))
        self.register_buffer("high", torch.zeros(len(OUTLINE), dtype=torch.float64))

    @property
    def most(self) -> int:
        """Most particles of a jet that are drawn: as many as were read in the training."""
        return int(self.high[0])

    def let_learn(self) -> None:
        """Let all of it learn, the encoder with its pooling where that is used."""
        self.requires_grad_(True)
        encoder = self._encoder[0]
        encoder.requires_grad_(True)
        if self.flow is not None:
            encoder.pooling.requires_grad_(False)

    # Learning ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(
        self, reconstructor: Reconstructor, batches: Callable[[], Iterable[Batch]], truths: Callable[[], Tensor]
    ) -> None:
        """Note classes, ranges and scales, where they are not known."""
        if self.outlines.fitted:
            return
        targets = truths()
        pt = self._pt(targets).unsqueeze(1)
        self.conditions.low.copy_(pt.amin(dim=0))
        self.conditions.high.copy_(pt.amax(dim=0))
        self.known.copy_((self._codes(targets).unsqueeze(1) == torch.arange(len(KINDS))).any(dim=0))
        jets = [(read_jets(batch), self._truths(batch)) for batch in batches()]
        outlines = torch.cat([self._outline(read, self._pt(truth)) for read, truth in jets])
        self.outlines.fit(outlines)
        self.low.copy_(outlines.amin(dim=0))
        self.high.copy_(outlines.amax(dim=0))
        self.high[0] = jets[0][0].particles.shape[1]
        self.low[0] = 1
        self.numbers.fit(
            torch.cat([read.particles for read, _ in jets]),
            torch.cat([read.real for read, _ in jets]),
            torch.cat([self._pt(truth) for _, truth in jets]),
        )

    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the loss of a batch: of the outline's flow, and of the particles, in nats a jet where it has some."""
        return self._loss(reconstructor, noisy, random, draws=True)

    def of_nothing(
        self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
    ) -> Tensor | None:
        """Return the loss of who knows scales alone: a velocity of zero, or a normal density of every number."""
        return self._loss(reconstructor, noisy, random, draws=False)

    def _loss(self, reconstructor: Reconstructor, batch: Batch, random: KeyedRandom, draws: bool) -> Tensor:
        random, read, truths = random.scoped("generation"), read_jets(batch), self._truths(batch)
        outline, given = self._outline(read, self._pt(truths)), self._given(truths, read.particles.dtype)
        loss = self._outline_loss(outline, given, random, draws)
        sketch = self._sketch(outline, given, truths, read.real, axis_of(read.particles, read.real))
        numbers = self.numbers(read.particles, read.real, self._pt(truths))
        if self.flow is not None:
            noise = random.normal(numbers.shape[1], NUMBERS, stream="particles").to(numbers.dtype)
            time = random.uniform(1, stream="time").to(numbers.dtype)
            if not draws:
                return loss + mean_of_particles((numbers - noise).square(), read.real).mean()
            return loss + self.flow.misfits(numbers, self._asked(sketch), noise, time).mean()
        assert self.decoder is not None
        if not draws:
            return loss + ParticleDecoder.costs_of_nothing(numbers, self.numbers.kinds(numbers), read.real).mean()
        return loss + self._variational(reconstructor, batch, numbers, sketch, random)

    def _outline_loss(self, outline: Tensor, given: Tensor, random: KeyedRandom, draws: bool) -> Tensor:
        spread = outline.clone()
        # a whole number becomes a density
        spread[:, 0] += random.uniform(1, stream="multiplicity").squeeze(1).to(outline.dtype) - 0.5
        wanted = self.outlines(spread).to(given.dtype)
        noise = random.normal(len(OUTLINE), stream="outline").to(given.dtype)
        time = random.uniform(1, stream="time of the outline").to(given.dtype)
        return self.outline.loss(wanted, given, noise, time) if draws else (wanted - noise).square().mean()

    def _variational(
        self, reconstructor: Reconstructor, batch: Batch, numbers: Drawn, sketch: Sketch, random: KeyedRandom
    ) -> Tensor:
        assert self.decoder is not None
        view, lengths = reconstructor.seen(self.options.view, batch["inputs"], batch.get("masks", {}))
        features = self._encoder[0].encode(view.series, lengths).features.to(numbers.dtype)
        outputs = self.recognition(torch.cat([features, sketch.condition], dim=1))
        mean, factor = gaussian_of(outputs, self.options.latent)
        drawn = random.normal(self.options.latent, stream="latent").to(numbers.dtype)
        latent = mean + (factor @ drawn.unsqueeze(2)).squeeze(2)
        asked = AskedParticles(torch.cat([sketch.condition, latent], dim=1), sketch.real)
        cost = (self.decoder.costs(numbers, self.numbers.kinds(numbers), asked) + divergence(mean, factor)).mean()
        if self.prior is None:
            return cost
        noise = random.normal(self.options.latent, stream="prior").to(numbers.dtype)
        time = random.uniform(1, stream="time of the prior").to(numbers.dtype)
        return cost + self.prior.loss(latent.detach(), sketch.condition, noise, time)

    # Drawing -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def draw(self, targets: Targets, seed: int = 0, steps: int = FLOW_STEPS) -> DrawnJets:
        """Return a drawn jet for each row of targets, (jet, target) in their own units and in the order of the data.

        The same seed draws the same ones, on any device. Raises UserError beyond what the training held, and before it.
        """
        if not self.outlines.fitted:
            raise UserError("this generation was not trained: fit it, or load a checkpoint of model.generation")
        truths = targets.to(self.low)
        self._refuse_unknown(truths)
        random = torch.Generator().manual_seed(seed)
        parts = [self._drawn(part, random, steps) for part in truths.split(AT_ONCE)]
        return DrawnJets(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _drawn(self, truths: Tensor, random: torch.Generator, steps: int) -> DrawnJets:
        weights = next(self.outline.parameters())

        def normal(*shape: int) -> Tensor:
            return torch.randn(len(truths), *shape, generator=random).to(weights)

        given = self._given(truths, weights.dtype)
        outline = self.outlines.inverse(self.outline.flown(normal(len(OUTLINE)), given, steps))
        outline = torch.minimum(torch.maximum(outline, self.low), self.high)
        outline[:, 0] = outline[:, 0].round().clamp(min=1)
        real = valid_positions(outline[:, 0].long(), self.most)
        phi = 2 * torch.pi * torch.rand(len(truths), generator=random).to(self.low) - torch.pi
        sketch = self._sketch(outline, given, truths, real, (outline[:, 1], phi))
        noise = normal(self.most, NUMBERS)
        if self.flow is not None:
            noise = noise * real.unsqueeze(-1)
            numbers = self.flow.flown(noise, self._asked(sketch), steps)
        else:
            assert self.decoder is not None
            latent = normal(self.options.latent)
            if self.prior is not None:
                latent = self.prior.flown(latent, sketch.condition, steps)
            asked = AskedParticles(torch.cat([sketch.condition, latent], dim=1), real)
            uniform = torch.rand(len(truths), self.most, len(PARTICLE_KINDS), generator=random).to(weights)
            numbers = self.decoder.draw(asked, noise, uniform)
        return self._as_outlined(numbers.double(), sketch, outline)

    def _as_outlined(self, numbers: Drawn, sketch: Sketch, outline: Tensor) -> DrawnJets:
        """Return jets whose axis, pT and mass are those of their outline: particles are moved and scaled together.

        Angles from the axis are scaled until the mass is right, by no more than MOST_SCALED, within the range of the
        training: so a jet of one particle, or of very few, stays what it is.
        """
        frame, reference_gev = sketch.frame, sketch.frame.reference_gev
        mass_share, pt_share = outline[:, 2].exp(), outline[:, 3].exp()
        centre = centre_of(self.numbers.particles(numbers, sketch.real, frame))
        factor = torch.ones_like(reference_gev)
        for _ in range(SCALED_ROUNDS):
            placed = self.numbers.moved(numbers, centre, factor)
            pt, mass = momentum_and_mass(self.numbers.particles(placed, sketch.real, frame))
            frame = frame._replace(reference_gev=frame.reference_gev * pt_share * reference_gev / pt)
            wider = mass_share / pt_share * pt / mass
            factor = (factor * wider).clamp(1 / MOST_SCALED, MOST_SCALED)
        return hardest_first(self.numbers.particles(placed, sketch.real, frame), sketch.real)

    # What is given -------------------------------------------------------------------------------------------------

    def _asked(self, sketch: Sketch) -> AskedParticles:
        """Return what the flow is told, with the encoder that reads what is half made."""
        encoder, view = self._encoder[0], self._view[0]

        def read(numbers: Drawn) -> Tensor:
            particles = self.numbers.particles(numbers.detach(), sketch.real, sketch.frame)
            series = series_of(particles.to(numbers.dtype), view.features)
            return encoder.sequence(series, sketch.real.sum(dim=1)).values

        return AskedParticles(sketch.condition, sketch.real, read)

    def _sketch(
        self, outline: Tensor, given: Condition, truths: Targets, real: Real, axis: tuple[PerRow, PerRow]
    ) -> Sketch:
        condition = torch.cat([given, self.outlines(outline).to(given.dtype)], dim=1)
        return Sketch(condition, real, Frame(self._pt(truths), *axis))

    def _outline(self, read: Read, jet_pt_gev: PerRow) -> Float[Tensor, "batch outline"]:
        """Return the outline of jets, float64."""
        pt, mass = momentum_and_mass(read.particles)
        reference = jet_pt_gev.clamp(min=LEAST_GEV)
        eta, _ = axis_of(read.particles, read.real)
        return torch.stack([read.lengths.double(), eta, (mass / reference).log(), (pt / reference).log()], dim=1)

    def _given(self, truths: Targets, dtype: torch.dtype) -> Condition:
        """Return class and pT as networks are told them."""
        codes = nn.functional.one_hot(self._codes(truths).clamp(0, len(KINDS) - 1), len(KINDS))
        return torch.cat([codes.to(dtype), self.conditions(self._pt(truths).unsqueeze(1)).to(dtype)], dim=1)

    def _codes(self, truths: Targets) -> Tensor:
        return truths[:, self.targets.index(CLASS)].long()

    def _pt(self, truths: Targets) -> PerRow:
        return truths[:, self.targets.index(PT)].double()

    def _truths(self, batch: Batch) -> Targets:
        if "targets" not in batch:
            raise UserError(f"the data have no columns {', '.join(self.targets)}: jets are drawn for given ones")
        truths: Tensor = batch["targets"]
        return truths

    def learned(self, targets: Targets) -> Bool[Tensor, "batch"]:
        """Return which rows of targets `draw` takes: of classes that the training had, and of momenta in its range."""
        truths = targets.to(self.low)
        known = self.known[self._codes(truths).clamp(0, len(KINDS) - 1)] & (self._codes(truths) < len(KINDS))
        place = self.conditions(self._pt(truths).unsqueeze(1)).squeeze(1)
        return known & (self._codes(truths) >= 0) & (place.abs() <= 1 + 2 * MARGIN)

    def _refuse_unknown(self, truths: Targets) -> None:
        """Raise UserError for classes and momenta of which there was nothing to learn."""
        learned = [kind.name for kind in KINDS if bool(self.known[kind.code])]
        for code in truths[:, self.targets.index(CLASS)].tolist():
            if code not in range(len(KINDS)) or not bool(self.known[int(code)]):
                named = KINDS[int(code)].name if code in range(len(KINDS)) else f"{code:g}"
                raise UserError(f"the generation was trained on no jets of the class {named}: {', '.join(learned)}")
        self.conditions.refuse_outside(self._pt(truths).unsqueeze(1), (PT,))
