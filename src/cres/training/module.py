"""The LightningModule: noise on the device, loss of the standardised targets, metrics in physical units.

Training noise is drawn anew each epoch, keyed by (seed, epoch, event); validation, test and prediction noise is frozen
and nominal, so that a score depends on the weights alone.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from cres.clock import wall_seconds
from cres.data.loader import ResumableLoader
from cres.errors import UserError, nearest
from cres.models import Calibration, Encoder, GaussianNLL, Loss, PredictiveDistribution, combine, optimizer_groups
from cres.shapes import Series
from cres.training.averaging import Average
from cres.training.checkpoints import LAST, Checkpoints
from cres.training.cuts import keep_band, shortened, within_length
from cres.training.denoising import Denoising, DenoisingOptions
from cres.training.landmark import LandmarkOptions
from cres.training.loss_watch import LossWatch, NonFiniteStep, first_of_all
from cres.training.metrics import Collected, EpochLoss, collect, validation_metrics
from cres.training.reconstructor import (
    EncoderFactory,
    HeadFactory,
    Outcome,
    Reconstructor,
    ViewFactory,
    build_reconstructor,
)
from cres.training.schedules import Cosine, Schedule
from cres.training.streaming import noisy_pieces
from cres.transforms import FROZEN_EPOCH, KeyedRandom, RandomChain, RandomTransform, WhiteNoise
from cres.transforms.coloured import ColouredNoise
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ
from cres.transforms.random import mix64

Batch = dict[str, Any]

CalibrationMethod = Literal["coverage", "likelihood", "none"]

CARD = "cres"
PLACE = "place_in_epoch"


@runtime_checkable
class NoiseFactory(Protocol):
    """Make a source of noise for records of a sampling rate."""

    def __call__(self, sampling_rate_hz: float) -> RandomTransform:
        """Return the source."""
        ...


@dataclass(frozen=True)
class Optimiser:
    """AdamW, with the dynamics of state-space layers (Δ and A) in a group of their own, without decay.

    Args:
        lr: Peak learning rate.
        ssm_lr: Peak learning rate of Δ and A.
        weight_decay: Decay of matrices; vectors and dynamics have none.
        betas: Memory of the two moments.

    """

    lr: float = 2e-3
    ssm_lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)


class NonFiniteLoss(UserError):
    """The loss was NaN or infinite."""


class CresModule(pl.LightningModule):
    """Trains a reconstructor.

    Args:
        sampling_rate_hz: Sampling rate of the records; linked from the data.
        targets: Names of the columns to regress; linked from the data.
        views: What is made of a record, by name: TimeView, SpectrumView, AlignedSpectrum …
        encoders: An encoder for each view, under the same name.
        head: PointHead, GaussianHead, MixtureHead or QuantileHead.
        loss: MSE, Huber, GaussianNLL, CRPS or Pinball, on standardised targets.
        noise: Sources of noise of the nominal apparatus, by default white noise of its density, or noise of the
            spectrum that lies beside the data; empty for records that carry their own.
        noise_density_w_per_hz: Density of that white noise; linked from the data, whose simulation states it.
        noise_rows: Frequency and density of the measured spectrum; linked from the data.
        receiver: What the receiver does to every record after the noise, in training and in judging: gain and phase
            drift, an ADC (GainPhaseDrift, Quantise) …; left out at noise scale 0, for records that were measured.
        augmentations: Random changes of the training records only.
        fusion: How features of several views are joined.
        landmark: A line whose place is measured on the way, and mapped to a first guess of the targets.
        denoising: Rebuild a view without its noise, beside the targets or alone, to pre-train an encoder.
        optimiser: Learning rates and decay.
        schedule: Shape of the learning rate over the training.
        compile_encoders: Compile the layers of the encoders with torch.compile when training; the first step then takes
            a minute or two, and on a CPU it needs a C++ compiler.
        compile_mode: How: default, or reduce-overhead, which captures what a layer launches on a GPU and replays it.
        ema_decay: Validate and keep an exponential moving average of the weights with this decay a step; 0 is off.
        calibration: How the stated uncertainties are scaled after training, on the validation split: coverage (at every
            stated width 68.27 % of the truths within one error bar), likelihood (one factor a target), or none.
        seed: Seed of the training noise.
        noise_seed: Seed of the frozen noise of validation, test and prediction, whatever the training's seed, so that
            trainings are judged on the same records.

    """

    def __init__(
        self,
        sampling_rate_hz: float,
        targets: tuple[str, ...],
        views: dict[str, ViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        loss: Loss | None = None,
        noise: list[NoiseFactory] | None = None,
        noise_density_w_per_hz: float = NOMINAL_DENSITY_W_PER_HZ,
        noise_rows: list[tuple[float, float]] | None = None,
        receiver: list[RandomTransform] | None = None,
        augmentations: list[RandomTransform] | None = None,
        fusion: Literal["gated", "concatenate"] = "gated",
        landmark: LandmarkOptions | None = None,
        denoising: DenoisingOptions | None = None,
        optimiser: Optimiser = Optimiser(),
        schedule: Schedule | None = None,
        compile_encoders: bool = False,
        compile_mode: Literal["default", "reduce-overhead"] = "default",
        ema_decay: float = 0.0,
        calibration: CalibrationMethod = "coverage",
        seed: int = 0,
        noise_seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= ema_decay < 1:
            raise UserError(f"model.ema_decay is {ema_decay}, but must lie in [0, 1)")
        self.reconstructor = build_reconstructor(sampling_rate_hz, targets, views, encoders, head, fusion, landmark)
        self.others = nn.ModuleList()
        """Further members of an ensemble, whose predictions are combined with the reconstructor's."""
        self.joint: Calibration | None = None
        """Calibration of what the members of an ensemble state together."""
        self.denoising = None if denoising is None else Denoising(denoising, self.reconstructor)
        self.regresses = denoising is None or not denoising.alone
        if self.denoising is not None and not self.regresses:
            self.denoising.train_alone(self.reconstructor)
        self.loss = loss or GaussianNLL()
        white = partial(WhiteNoise, density_w_per_hz=noise_density_w_per_hz)
        nominal = white if noise_rows is None else partial(ColouredNoise, table=noise_rows)
        sources: list[NoiseFactory] = [nominal] if noise is None else noise
        self.noise = RandomChain(source(sampling_rate_hz=sampling_rate_hz) for source in sources)
        self.receiver = RandomChain(receiver or [])
        self.augmentations = RandomChain(augmentations or [])
        self.optimiser, self.schedule = optimiser, schedule or Cosine()
        self.compile_encoders, self.compile_mode = compile_encoders, compile_mode
        self.ema_decay, self.calibration = ema_decay, calibration
        self.seed, self.noise_seed = seed, noise_seed
        self.targets = targets
        self.sampling_rate_hz = sampling_rate_hz
        self.noise_scale = 1.0
        self.length_share = 1.0
        self.band_hz: tuple[float, float] | None = None
        """What the curriculum makes of the training records: a part of their length and of their band; null: all."""
        self.card: dict[str, Any] = {}
        """What the checkpoint says about itself: the model's configuration, the data it was trained on, its ranges."""
        self.average = Average()
        self.watch = LossWatch()
        self.newest_loss: float | None = None
        """Loss of the last step that was logged, for who shows it."""
        self._resume_at: dict[str, Any] = {}
        self.epoch_loss = EpochLoss()
        """Mean loss of the epoch so far, over all processes; part of a checkpoint, so that a resume does not cut it."""
        self.last_validation: Collected | None = None
        """Predictions of the validation split after the last epoch, of all processes."""
        self._validation: list[Collected] = []

    def placed(self, batch: Batch) -> Batch:
        """Return a batch where the weights are and its records in their precision; in its steps the trainer does so."""
        weights = next(self.reconstructor.parameters())
        there = self.transfer_batch_to_device(batch, weights.device, 0)
        return there | {"series": there["series"].to(weights.dtype)}

    # Forward -----------------------------------------------------------------------------------------------------

    def forward(self, series: Series) -> PredictiveDistribution:
        """Return the calibrated distribution in physical units of records that carry their noise."""
        return self._combined([member(series) for member in self.members])

    def reconstruct(self, batch: Batch) -> PredictiveDistribution:
        """Return the calibrated distribution in physical units, with frozen noise; "pieces" are read one by one."""
        return self._reconstructed(batch, self._judged(batch))

    def _judged(self, batch: Batch) -> Series | None:
        """Return the records with frozen noise; nothing for "pieces", whose noise is made as they are read."""
        return None if "pieces" in batch else self.inject(batch, FROZEN_EPOCH, self.noise_scale)

    def _reconstructed(self, batch: Batch, noisy: Series | None) -> PredictiveDistribution:
        if noisy is not None:
            return self(noisy)
        return self._combined([member.stream(partial(self.pieces, batch)) for member in self.members])

    def pieces(self, batch: Batch) -> Iterator[Series]:
        """Yield the records of a batch of "pieces" with frozen noise, a piece at a time."""
        random = KeyedRandom(self.noise_seed, FROZEN_EPOCH, batch["event_id"])
        dtype = next(self.reconstructor.parameters()).dtype
        return noisy_pieces(batch["pieces"], random, self.noise, self.receiver, self.noise_scale, dtype)

    def _combined(self, said: list[PredictiveDistribution]) -> PredictiveDistribution:
        together = said[0] if len(said) == 1 else combine(said)
        return together if self.joint is None else self.joint(together)

    @property
    def members(self) -> list[Reconstructor]:
        """The reconstructors of an ensemble; one alone otherwise."""
        return [self.reconstructor, *(member for member in self.others if isinstance(member, Reconstructor))]

    @property
    def calibrations(self) -> list[Calibration]:
        """Those that the stated intervals follow: that of the ensemble, or else those of the members."""
        return [member.calibration for member in self.members] if self.joint is None else [self.joint]

    def inject(self, batch: Batch, epoch: int, scale: float = 1.0) -> Tensor:
        """Return the batch's records with noise: that of FROZEN_EPOCH and of all below it is for judging.

        The records of the training's epochs, 0 and above, are changed at random before.
        """
        judging = epoch <= FROZEN_EPOCH
        seed = self.noise_seed if judging else self.seed
        # the same electron drawn again in one epoch counts as another one; mix64(0) is 0
        event = batch["event_id"] ^ mix64(batch["repeat"]) if "repeat" in batch else batch["event_id"]
        random = KeyedRandom(seed, epoch, event, batch["series"].device)
        series: Tensor = batch["series"]
        if not judging:
            series = self.augmentations(series, random)
        noisy = self.noise(series, random, scale)
        if scale:
            noisy = self.receiver(noisy, random.scoped("receiver"), scale)
        return within_length(noisy, batch["lengths"])

    def standardised_targets(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the true targets (batch, target), standardised."""
        if "targets" not in batch:
            raise UserError(
                f"the data have no columns {', '.join(self.targets)}: they can be predicted, not trained on"
            )
        return self.reconstructor.target_scaler(batch["targets"]).to(dtype)

    def objective(self, noisy: Tensor, batch: Batch) -> tuple[Tensor, Outcome | None]:
        """Return the mean loss of a batch of noisy records, and the outcome when targets are regressed."""
        outcome = self.reconstructor.standardised(noisy) if self.regresses else None
        loss = noisy.new_zeros(()) if outcome is None else self.regression_loss(outcome, batch)
        if self.denoising is not None:
            loss = loss + self.denoising(self.reconstructor, noisy, batch["series"])
        return loss, outcome

    def regression_loss(self, outcome: Outcome, batch: Batch) -> Tensor:
        """Return the mean loss of the targets, with that of the landmark."""
        truth = self.standardised_targets(batch, outcome.distribution.dtype)
        loss = self.loss(outcome.distribution, truth).mean()
        if outcome.measured is None or self.reconstructor.landmark is None:
            return loss
        return loss + self.reconstructor.landmark.loss(outcome.measured, self.landmark_column(batch))

    def landmark_column(self, batch: Batch) -> Tensor:
        """Return the column (batch,) that the landmark follows. Raises UserError when the data lack it."""
        assert self.reconstructor.landmark is not None
        column = self.reconstructor.landmark.options.column
        if column not in batch["observables"]:
            raise UserError(
                f"the data have no column {column!r}, which model.landmark follows"
                f"{nearest(column, batch['observables'])}: name another one, or set model.landmark to null"
            )
        frequency_hz: Tensor = batch["observables"][column]
        return frequency_hz

    # Steps -------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of noisy records as the curriculum wants them now."""
        batch = shortened(batch, self.length_share)
        noisy = self.inject(batch, self.current_epoch, self.noise_scale)
        if self.band_hz is not None:
            band = partial(keep_band, sampling_rate_hz=self.sampling_rate_hz, band_hz=self.band_hz)
            noisy, batch = band(noisy), batch | {"series": band(batch["series"])}
        loss = self.objective(noisy, batch)[0]
        self.watch.note(loss, batch, self.current_epoch, batch_idx)
        size = len(batch["event_id"])
        self.epoch_loss.update(loss, size)
        self.log("train/loss_epoch", self.epoch_loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size)
        if self.logs_this_step:
            self.refuse_non_finite()
            self.log("train/loss_step", loss, batch_size=size, sync_dist=True)
        return loss

    @property
    def logs_this_step(self) -> bool:
        """Whether the step that is taken is one of those whose numbers are written, one of log_every_n_steps.

        What waits for the device (a number that is shown, a loss that is looked at) waits for these steps.
        """
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and (self.trainer.fit_loop.epoch_loop._batches_that_stepped + 1) % every == 0

    def refuse_non_finite(self) -> None:
        """Look at the losses since the last look. Raises NonFiniteLoss on every process, with the place of the first.

        Called by all processes at the same step.
        """
        newest, mine = self.watch.look()
        self.newest_loss = self.newest_loss if newest is None else newest
        found = first_of_all(mine, self.trainer.world_size)
        if found is not None:
            raise NonFiniteLoss(self._where_it_broke(found))

    def _where_it_broke(self, step: NonFiniteStep) -> str:
        cause = (
            f"the records of event_id {step.broken[:10]} hold values that are not finite: prepare the data again"
            if step.broken
            else "the records are finite, so the training diverged: lower model.optimiser.lr, or set "
            "trainer.gradient_clip_val"
        )
        saved = Checkpoints.folder(self.trainer) / LAST
        kept = f"; the last good state is {saved}" if saved.exists() else ""
        # counted from 1, as the lines of the epochs are
        where = f"epoch {step.epoch + 1}, batch {step.batch_idx + 1} (event_id {', '.join(map(str, step.events[:8]))}"
        where += f" and {len(step.events) - 8} more)" if len(step.events) > 8 else ")"
        return f"the loss is {step.loss} in {where}: {cause}{kept}"

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout from (seed, epoch, batch, rank), so that a resumed training draws the same."""
        key = f"{self.seed}/{self.current_epoch}/{batch_idx}/{self.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little"))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions and log the loss; that of an ensemble is no objective of anything."""
        if self.others:
            self._validation.append(collect(self(self.inject(batch, FROZEN_EPOCH)), batch, self.calibrations))
            return
        loss, outcome = self.objective(self.inject(batch, FROZEN_EPOCH), batch)
        self.log("val/loss", loss, prog_bar=True, batch_size=len(batch["event_id"]), sync_dist=True)
        if outcome is not None:
            physical = self.reconstructor.physical(outcome.distribution)
            self._validation.append(collect(physical, batch, [self.reconstructor.calibration]))

    def on_validation_epoch_end(self) -> None:
        """Log σ68 of every target in its unit, and the coverage of the stated intervals."""
        if not self.regresses:
            return
        collected, self._validation = Collected.gather(self._validation, self.trainer.world_size), []
        self.last_validation = collected
        self.log_dict(validation_metrics(collected, self.targets), prog_bar=True, rank_zero_only=False)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Return the predictions of a batch with frozen noise: nominal, unless a prediction chose another scale.

        They are timed from the noisy records to the numbers on the host, as those of the estimators are.
        """
        noisy = self._judged(batch)
        started = wall_seconds(self.device)
        collected = collect(self._reconstructed(batch, noisy), batch, self.calibrations, whole=True)
        return {"collected": replace(collected, seconds=wall_seconds(self.device) - started)}

    # Average of the weights --------------------------------------------------------------------------------------

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step and move the average of the weights after it."""
        super().optimizer_step(*args, **kwargs)
        if self.ema_decay:
            self.average.update(self.reconstructor, self.ema_decay)

    def on_validation_start(self) -> None:
        """Validate the average, if the training is sound; `best.ckpt` is written while it is in place."""
        self.refuse_non_finite()
        self.average.swap(self.reconstructor)

    def on_validation_end(self) -> None:
        """Go on with the weights themselves."""
        self.average.swap(self.reconstructor)

    # Checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes a checkpoint stand alone, and the other one of weights and average; refuse unsound steps."""
        self.refuse_non_finite()
        checkpoint[CARD] = {"format": 1, **self.card}
        checkpoint[PLACE] = self._place_in_epoch()
        self.average.store(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the weights and their average from a checkpoint to go on with the training."""
        self.card = {name: value for name, value in checkpoint[CARD].items() if name != "format"}
        self._resume_at = checkpoint[PLACE]
        self.average.restore(checkpoint)

    def _place_in_epoch(self) -> dict[str, Any]:
        loader = self.trainer.train_dataloader
        if not isinstance(loader, ResumableLoader):
            return {}
        # all processes continue with the mean of their sums, which is the same sum
        sums = torch.stack([self.epoch_loss.mean_value, self.epoch_loss.weight])
        return {**loader.state_dict(), "loss": self.trainer.strategy.reduce(sums, reduce_op="mean").cpu()}

    def setup(self, stage: str) -> None:
        """Compile what was asked for. Raises UserError where there is no compiler."""
        if stage != "fit" or not self.compile_encoders:
            return
        compiler = os.environ.get("CXX", "g++")
        if self.trainer.strategy.root_device.type == "cpu" and shutil.which(compiler) is None:
            raise UserError(f"model.compile_encoders needs a C++ compiler, but there is no {compiler}: install it")
        for encoder in self.reconstructor.fusion.encoders.values():
            assert isinstance(encoder, Encoder)
            for layer in encoder.layers:
                layer.compile(mode=self.compile_mode)

    def on_train_start(self) -> None:
        """Go on behind the last batch; Lightning has made the loader before it read the state, and forgets it."""
        loader, place = self.trainer.train_dataloader, self._resume_at
        if isinstance(loader, ResumableLoader) and 0 < place.get("batches", 0) < len(loader):
            loader.load_state_dict(place)
            if "loss" in place:
                self.epoch_loss.mean_value, self.epoch_loss.weight = place["loss"].to(self.device).unbind()
        self._resume_at = {}

    # Optimisation ------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Return AdamW with groups from the layers' types, and the schedule."""
        optimiser = self.make_optimiser()
        self.trainer.fit_loop.setup_data()  # an open end is estimated without looking at the data
        steps = self.trainer.estimated_stepping_batches
        batches = max(1, int(self.trainer.num_training_batches))
        if math.isinf(steps) and self.schedule.needs_an_end:
            raise UserError(
                f"model.schedule is {type(self.schedule).__name__}, whose shape needs to know the end of the training: "
                "give trainer.max_epochs or trainer.max_steps, or take Constant, Plateau or Exponential"
            )
        total = 0 if math.isinf(steps) else int(steps)
        return {"optimizer": optimiser, "lr_scheduler": self.schedule.build(optimiser, total, batches)}

    def make_optimiser(self) -> torch.optim.AdamW:
        """Return the optimiser with groups from the layers' types, at the peak rates."""
        settings = self.optimiser
        groups = optimizer_groups(self, settings.lr, settings.weight_decay, settings.ssm_lr)
        optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, **_one_kernel(groups))
        # or Lightning would refuse to clip gradients in mixed precision: a scaler, where there is one, unscales before
        optimiser._step_supports_amp_scaling = False
        return optimiser


def _one_kernel(groups: list[dict[str, Any]]) -> dict[str, bool]:
    """Return the options that step a whole group of parameters at once, where the device knows how."""
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    return {"fused": True} if devices <= {"cpu", "cuda"} else {"foreach": True}
