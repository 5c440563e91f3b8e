"""The module of CRES: views and noise of volts, what the receiver does, long records piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from cres.data.electrons import SERIES
from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.training.noise_variation import MovingNoise, NoiseVariation
from cres.training.streaming import noisy_pieces
from cres.transforms import FROZEN_EPOCH, KeyedRandom, RandomChain, RandomTransform, WhiteNoise
from cres.transforms.bands import band_means, is_band
from cres.transforms.coloured import ColouredNoise
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ
from cres.transforms.row_noise import RowNoise
from reconstruction.models import PredictiveDistribution
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.records.batch import Batch
from reconstruction.records.rows import Rows, RowsDataModule
from reconstruction.shapes import Series
from reconstruction.training.learning.learner import CARD, Learner
from reconstruction.training.learning.loss_watch import NonFiniteLoss
from reconstruction.training.learning.optimiser import Optimiser
from reconstruction.training.learning.place import PLACE
from reconstruction.training.learning.tasks.denoising import DenoisingOptions
from reconstruction.training.learning.tasks.generation import GenerationOptions
from reconstruction.training.learning.tasks.masking import MaskingOptions
from reconstruction.training.learning.tasks.super_resolution import SuperResolutionOptions
from reconstruction.training.network.corruption import Corruption, Link
from reconstruction.training.network.denoise_first import DenoiseFirstOptions
from reconstruction.training.network.facts import with_facts
from reconstruction.training.network.landmark import LandmarkOptions
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, ViewFactory, build_reconstructor
from reconstruction.training.network.sheet import SheetOptions

_ROWS_AT_ONCE = 4096

__all__ = ["CARD", "PLACE", "CresModule", "NoiseFactory", "NonFiniteLoss", "Optimiser"]


@runtime_checkable
class NoiseFactory(Protocol):
    """Make a source of noise for records of a sampling rate."""

    def __call__(self, sampling_rate_hz: float) -> RandomTransform:
        """Return the source."""
        ...


class CresModule(Learner):
    """Trains a reconstructor.

    Args:
        sampling_rate_hz: Sampling rate of the records; linked from the data.
        targets: Names of the columns to regress; linked from the data.
        views: What is made of a record, by name: TimeView, SpectrumView, AlignedSpectrum …
        encoders: An encoder for each view, under the same name.
        head: PointHead, GaussianHead, MixtureHead, QuantileHead or FlowHead.
        noise: Sources of noise of the nominal apparatus, by default white noise of its density, or noise of the
            spectrum that lies beside the data; empty for records that carry their own.
        noise_density_w_per_hz: Density of that white noise; linked from the data, whose simulation states it.
        noise_rows: Frequency and density of the measured spectrum; linked from the data.
        noise_variation: How far level and slope of the noise's spectrum move in the training, electron by electron; a
            model that is told its bands (condition.settings, noise_density_K_of_N_w_per_hz) is told what was drawn.
        receiver: What the receiver does to every record after the noise, in training and in judging: gain and phase
            drift, an ADC (GainPhaseDrift, Quantise) …; left out at noise scale 0, for records that were measured.
        augmentations: Random changes of the training records only.
        fusion: How features of several views are joined.
        landmark: A line whose place is measured on the way, and mapped to a first guess of the targets.
        condition: Settings of the apparatus that the model is told with each record: one model for many apparatus.
        denoising: Rebuild a view without its noise, beside the targets or alone, to pre-train an encoder.
        masking: Hide stretches of views and rebuild them, beside the targets or alone, to pre-train encoders on records
            of which neither truth nor a noiseless copy is known.
        sheet: Targets of a FlowHead that follow from others and from what is measured, each with its orders: the flow
            learns what is left.
        super_resolution: Rebuild the view of whole noiseless records from their first samples, beside the targets or
            alone.
        generation: Draw records for given targets, learned beside the targets or alone.
        denoise_first: A denoiser before the encoder of a view, trained apart, frozen, or together with the targets.

    """

    system_name = "cres"

    def __init__(
        self,
        sampling_rate_hz: float,
        targets: tuple[str, ...],
        views: dict[str, ViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        noise: list[NoiseFactory] | None = None,
        noise_density_w_per_hz: float = NOMINAL_DENSITY_W_PER_HZ,
        noise_rows: list[tuple[float, float]] | None = None,
        receiver: list[RandomTransform] | None = None,
        augmentations: list[RandomTransform] | None = None,
        fusion: Literal["gated", "concatenate"] = "gated",
        landmark: LandmarkOptions | None = None,
        condition: ConditionOptions | None = None,
        denoising: DenoisingOptions | None = None,
        masking: MaskingOptions | None = None,
        sheet: list[SheetOptions] | None = None,
        noise_variation: NoiseVariation | None = None,
        super_resolution: SuperResolutionOptions | None = None,
        generation: GenerationOptions | None = None,
        denoise_first: DenoiseFirstOptions | None = None,
        **training: Any,
    ) -> None:
        facts = {"sampling_rate_hz": sampling_rate_hz}
        white = partial(WhiteNoise, density_w_per_hz=noise_density_w_per_hz)
        nominal: NoiseFactory = white if noise_rows is None else partial(ColouredNoise, table=noise_rows)
        bands = [] if condition is None else [name for name in condition.settings if is_band(name)]
        if bands or noise_variation is not None:
            _require_own_noise(noise, noise_variation)
            steady = nominal(sampling_rate_hz=sampling_rate_hz)
            nominal = partial(RowNoise, steady, density_w_per_hz=noise_density_w_per_hz or 1.0)
        sources: list[NoiseFactory] = [nominal] if noise is None else noise
        sources_of_noise = RandomChain(with_facts(source, facts) for source in sources)
        behind = RandomChain(receiver or [])
        super().__init__(
            build_reconstructor(
                facts,
                targets,
                views,
                encoders,
                head,
                fusion,
                landmark,
                condition=condition,
                sheet=sheet,
                denoise_first=denoise_first,
            ),
            Corruption(
                Link(RandomChain(augmentations or []), SERIES, training_only=True, scaled=False),
                Link(sources_of_noise, SERIES),
                # how loud the noise of a row is says nothing of what the receiver does to it
                Link(behind, SERIES, scope="receiver", needs_noise=True, by_row=False),
            ),
            denoising=denoising,
            masking=masking,
            super_resolution=super_resolution,
            generation=generation,
            **training,
        )
        if generation is not None:
            own = {"sampling_rate_hz": sampling_rate_hz}
            own |= {"noise_density_w_per_hz": noise_density_w_per_hz} if noise is None else {}
            _require_assumed(generation.rendering.assumed, own)
        self.noise, self.receiver = sources_of_noise, behind
        self.sampling_rate_hz = sampling_rate_hz
        self.nominal_strength = noise_density_w_per_hz or 1.0
        self.moving: MovingNoise | None = None
        """Spectra of rows and what is told of them, for models that are told any, or whose noise moves."""
        if bands or noise_variation is not None:
            spectrum = (sampling_rate_hz, noise_density_w_per_hz, noise_rows)
            self.moving = MovingNoise(bands, noise_variation, *spectrum, added=noise is None)

    def inject(self, batch: Batch, epoch: int, scale: float = 1.0) -> Batch:
        """Return the batch with noise, whose spectrum is drawn for each electron where the training varies it."""
        if self.moving is not None:
            random, learning = self._random(batch, epoch), epoch > FROZEN_EPOCH
            batch = self.moving(batch, scale, random, learning=learning, varied=True)
        return super().inject(batch, epoch, scale)

    def as_judged(self, batch: Batch, scale: float) -> Batch:
        """Return the batch with frozen noise of its own spectrum."""
        if self.moving is not None:
            random = self._random(batch, FROZEN_EPOCH)
            batch = self.moving(batch, scale, random, learning=False, varied=False)
        return super().inject(batch, FROZEN_EPOCH, scale)

    def settings_to_tell(self, data: RowsDataModule, rows: Rows, learning: bool = False) -> Tensor:
        """Return the settings (row, setting) as they will be told, those of the noise as it will be added."""
        told = super().settings_to_tell(data, rows, learning)
        scale = 1.0 if learning else self.noise_scale
        if self.moving is None or not self.moving.tells(scale):
            return told
        assert isinstance(data, CresDataModule)
        noise, places = data.noise_of_rows(), [self.settings.index(name) for name in self.moving.bands]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            random = KeyedRandom(self.noise_seed, FROZEN_EPOCH, torch.from_numpy(data.records.event_ids[part]))
            density = noise.density_w_per_hz(part)
            density = self.moving.moved(density, random) if learning else density
            told[start : start + len(part), places] = scale * band_means(density, self.moving.bands)
        return told

    def judged(self, batch: Batch) -> Batch | None:
        """Return a batch as it is judged; nothing for "pieces", whose noise is made as they are read."""
        return None if "pieces" in batch else super().judged(batch)

    def predicted(self, batch: Batch, judged: Batch | None) -> PredictiveDistribution:
        """Return the distribution of whole records, or of "pieces" that are read one by one."""
        if judged is not None:
            return super().predicted(batch, judged)
        return self.combined([member.stream(partial(self.pieces, batch)) for member in self.members])

    def pieces(self, batch: Batch) -> Iterator[Series]:
        """Yield the records of a batch of "pieces" with frozen noise, a piece at a time."""
        random = KeyedRandom(self.noise_seed, FROZEN_EPOCH, batch["event_id"])
        dtype = next(self.reconstructor.parameters()).dtype
        return noisy_pieces(batch["pieces"], random, self.noise, self.receiver, self.noise_scale, dtype)


def _require_assumed(assumed: Mapping[str, float], facts: Mapping[str, float]) -> None:
    """Raise UserError where records are drawn of another read-out than that of the data."""
    for name, value in facts.items():
        # a thousandth of the noise's power cannot be seen: files round it, and a temperature is no round density
        tolerance = 1e-3 if name == "noise_density_w_per_hz" else 1e-6
        if name in assumed and not math.isclose(assumed[name], value, rel_tol=tolerance):
            raise UserError(
                f"{name} of the data is {value:.6g}, and model.generation.rendering draws records of "
                f"{assumed[name]:.6g}: give it the simulation that made the data (init_args.simulation)"
            )


def _require_own_noise(noise: list[NoiseFactory] | None, variation: NoiseVariation | None) -> None:
    """Raise UserError where the noise that is told, or moves, is not the noise that is added."""
    if noise:
        raise UserError(
            "model.noise names sources of noise of its own, and the model is told the spectrum of the data's noise, or "
            "that one varies (model.noise_variation): leave model.noise out"
        )
    if noise is not None and variation is not None:
        raise UserError(
            "model.noise is empty, for records that carry their noise, and model.noise_variation moves noise that is "
            "added: leave one of the two out"
        )
