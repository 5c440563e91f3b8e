"""The LightningModule of any system: corruption on the device, loss of the standardised targets, physical metrics.

The corruption of training is drawn anew each epoch, keyed by (seed, epoch, event); that of validation, test and
prediction is frozen and nominal, so that a score depends on the weights alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from reconstruction.clock import wall_seconds
from reconstruction.errors import UserError
from reconstruction.models import Calibration, CrossEntropy, GaussianNLL, Loss, PredictiveDistribution, combine
from reconstruction.models.precision import exact_convolutions
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom, mix64
from reconstruction.records.batch import SETTINGS, STRENGTH, Batch, Inputs, Masks, masks_of
from reconstruction.records.rows import Rows, RowsDataModule
from reconstruction.system import System, find_system
from reconstruction.training.learning.averaging import Average
from reconstruction.training.learning.captured_step import CapturedObjective
from reconstruction.training.learning.checkpoints import LAST, Checkpoints
from reconstruction.training.learning.compiling import compile_encoders
from reconstruction.training.learning.loss_watch import LossWatch, NonFiniteLoss, first_of_all
from reconstruction.training.learning.metrics import Collected, EpochLoss, collect, validation_metrics
from reconstruction.training.learning.observed import followed, settings_of
from reconstruction.training.learning.optimiser import Optimiser, with_schedule
from reconstruction.training.learning.place import PlaceInEpoch
from reconstruction.training.learning.tasks.denoising import Denoising, DenoisingOptions
from reconstruction.training.learning.tasks.side_task import SideTask, SideTaskOptions, cost_of_nothing
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.easing import Easing
from reconstruction.training.network.reconstructor import Outcome, Reconstructor
from reconstruction.training.network.row_weights import RowWeights
from reconstruction.training.schedules import Cosine, Schedule

CalibrationMethod = Literal["coverage", "likelihood", "none"]

CARD = "cres"
"""Key of a checkpoint under which it says what it is, whatever its system."""


class Learner(pl.LightningModule):
    """Trains a reconstructor. A system's own class builds it of what a configuration says.

    Its constructor takes what is its own, and hands on `**training`: the command line finds those options and their
    words here.

    Args:
        reconstructor: What learns.
        corruption: What is done to its inputs before.
        loss: CrossEntropy for classes; GaussianNLL, CRPS, MSE, Huber or Pinball for others, on standardised targets.
        denoising: Rebuild a view without its noise, beside the targets or alone.
        optimiser: Learning rates and decay.
        schedule: Shape of the learning rate over the training.
        compile_encoders: Compile the layers of the encoders with torch.compile when training; the first step then takes
            a minute or two, and on a CPU it needs a C++ compiler.
        compile_mode: How: default, or reduce-overhead, which captures what a layer launches on a GPU and replays it.
        cuda_graph: Replay training steps as CUDA graphs, on one GPU where that is possible: hundreds of launches less.
        ema_decay: Validate and keep an exponential moving average of the weights with this decay a step; 0 is off.
        calibration: How what is stated is made honest after training, on the validation split: coverage (at every
            stated width 68.27 % of the truths within one error bar), likelihood (one factor a target), or none;
            probabilities of classes get one temperature by either.
        seed: Seed of what is random in training.
        noise_seed: Seed of what is random in judging, whatever the training's seed, so that trainings are judged on the
            same rows.
        masking: Hide parts of views and rebuild them, beside the targets or alone.
        weight_column: Column of the data that says how much each row counts in the loss of the targets, such as a
            detection efficiency; only ratios matter.
        super_resolution: Rebuild the view of whole records from a part of them, beside the targets or alone.
        generation: Draw rows for given targets, beside the targets or alone.

    """

    system_name: ClassVar[str]

    def __init__(
        self,
        reconstructor: Reconstructor,
        corruption: Corruption,
        loss: Loss | None = None,
        denoising: DenoisingOptions | None = None,
        optimiser: Optimiser = Optimiser(),
        schedule: Schedule | None = None,
        compile_encoders: bool = False,
        compile_mode: Literal["default", "reduce-overhead"] = "default",
        cuda_graph: bool = True,
        ema_decay: float = 0.0,
        calibration: CalibrationMethod = "coverage",
        seed: int = 0,
        noise_seed: int = 0,
        masking: SideTaskOptions | None = None,
        weight_column: str | None = None,
        super_resolution: SideTaskOptions | None = None,
        generation: SideTaskOptions | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= ema_decay < 1:
            raise UserError(f"model.ema_decay is {ema_decay}, but must lie in [0, 1)")
        self.reconstructor, self.corruption = reconstructor, corruption
        self.others = nn.ModuleList()
        """Further members of an ensemble, whose predictions are combined with the reconstructor's."""
        self.joint: Calibration | None = None
        """Calibration of what the members of an ensemble state together."""
        self.laws = nn.ModuleList()
        """What estimates of a batch must obey together, each a `Law`; a system adds its own."""
        self.denoising = None if denoising is None else Denoising(denoising, self.reconstructor)
        self.row_weights = None if weight_column is None else RowWeights(weight_column)
        self.masking = None if masking is None else masking.task(self.reconstructor)
        self.super_resolution = None if super_resolution is None else super_resolution.task(reconstructor)
        self.generation = None if generation is None else generation.task(reconstructor)
        for task in self.tasks:
            task.refuse_strangers(reconstructor)
        self.regresses = not any(task.alone for task in self.tasks)
        if not self.regresses:  # head, fusion and pooling are for the targets
            self.reconstructor.requires_grad_(False)
            for task in self.tasks:
                task.let_learn()
        self.loss = loss or (CrossEntropy() if reconstructor.head.classes else GaussianNLL())
        self.optimiser, self.schedule = optimiser, schedule or Cosine()
        self.compile_encoders, self.compile_mode, self.cuda_graph = compile_encoders, compile_mode, cuda_graph
        self.ema_decay, self.calibration = ema_decay, calibration
        self.seed, self.noise_seed = seed, noise_seed
        self.targets = reconstructor.targets
        self.noise_scale = 1.0
        """Scale of the corruption in a prediction; that of the training is the curriculum's."""
        self.nominal_strength = 1.0
        """STRENGTH of rows whose corruption is the model's own, where batches say it."""
        self.easing = Easing()
        """What a curriculum makes of the training's batches."""
        self.card: dict[str, Any] = {}
        """What the checkpoint says about itself: the model's configuration, the data it was trained on, its ranges."""
        self.average = Average()
        self.watch = LossWatch()
        self.newest_loss: float | None = None
        """Loss of the last step that was logged, for who shows it."""
        self.place = PlaceInEpoch()
        self.epoch_loss = EpochLoss()
        """Mean loss of the epoch so far, over all processes; part of a checkpoint, so that a resume does not cut it."""
        self.last_validation: Collected | None = None
        """Predictions of the validation split after the last epoch, of all processes."""
        self._validation: list[Collected] = []
        self._captured: CapturedObjective | None = None

    @property
    def tasks(self) -> list[SideTask]:
        """What is learned beside the targets, or in their place."""
        every = (self.denoising, self.super_resolution, self.generation, self.masking)
        return [task for task in every if task is not None]

    @property
    def system(self) -> System:
        """The system that this reconstructs."""
        return find_system(self.system_name)

    def placed(self, batch: Batch) -> Batch:
        """Return a batch where the weights are, its inputs in their precision; in its steps the trainer does so."""
        weights = next(self.reconstructor.parameters())
        there: Batch = self.transfer_batch_to_device(batch, weights.device, 0)
        cast = {
            name: values if name == SETTINGS else values.to(weights.dtype) for name, values in there["inputs"].items()
        }
        return there | {"inputs": cast}

    # Forward -----------------------------------------------------------------------------------------------------

    def forward(self, inputs: Inputs | Tensor, masks: Masks | None = None) -> PredictiveDistribution:
        """Return the calibrated distribution in physical units of inputs that carry their noise."""
        with exact_convolutions():
            return self.combined([member(inputs, masks) for member in self.members])

    def reconstruct(self, batch: Batch) -> PredictiveDistribution:
        """Return the calibrated distribution in physical units, with the frozen corruption."""
        return self.predicted(batch, self.judged(batch))

    def judged(self, batch: Batch) -> Batch | None:
        """Return a batch as it is judged; None where that is only known as it is read."""
        return self.as_judged(batch, self.noise_scale)

    def as_judged(self, batch: Batch, scale: float) -> Batch:
        """Return a batch with the frozen corruption of its own apparatus: what a training varies beside stays out."""
        return self.inject(batch, FROZEN_EPOCH, scale)

    def predicted(self, batch: Batch, judged: Batch | None) -> PredictiveDistribution:
        """Return the distribution of a batch that `judged` has made ready."""
        assert judged is not None
        return self.of(judged)

    def of(self, batch: Batch) -> PredictiveDistribution:
        """Return the calibrated distribution in physical units of a batch as it is."""
        said: PredictiveDistribution = self(batch["inputs"], masks_of(batch))
        return said

    def combined(self, said: list[PredictiveDistribution]) -> PredictiveDistribution:
        """Return what the members of an ensemble say together."""
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

    def inject(self, batch: Batch, epoch: int, scale: float = 1.0) -> Batch:
        """Return the batch with corrupted inputs: that of FROZEN_EPOCH and of all below it is for judging.

        The inputs of the training's epochs, 0 and above, are augmented as well.
        """
        judging = epoch <= FROZEN_EPOCH
        random = self._random(batch, epoch)
        strength = batch[STRENGTH] / self.nominal_strength if STRENGTH in batch else None
        inputs = self.corruption(batch["inputs"], masks_of(batch), random, scale, judging, strength)
        return batch | {"inputs": inputs if not self.settings else inputs | {SETTINGS: self.told(batch)}}

    def augmented(self, batch: Batch, epoch: int) -> Batch:
        """Return the batch as `inject` changes it before the noise: what a task beside the targets should rebuild."""
        wanted = any(task.reads_clean for task in self.tasks) or self.reconstructor.front is not None
        if epoch <= FROZEN_EPOCH or not wanted:
            return batch
        inputs = self.corruption.augmented(batch["inputs"], masks_of(batch), self._random(batch, epoch))
        return batch | {"inputs": inputs}

    def _random(self, batch: Batch, epoch: int) -> KeyedRandom:
        """Return the random numbers of a batch's rows: other ones in each epoch of the training, frozen to judge."""
        seed = self.noise_seed if epoch <= FROZEN_EPOCH else self.seed
        # the same row drawn again in one epoch counts as another one; mix64(0) is 0
        event = batch["event_id"] ^ mix64(batch["repeat"]) if "repeat" in batch else batch["event_id"]
        return KeyedRandom(seed, epoch, event, next(iter(batch["inputs"].values())).device)

    @property
    def settings(self) -> tuple[str, ...]:
        """Columns of the data that the model is told; none for most."""
        condition = self.reconstructor.condition
        return () if condition is None else condition.settings

    def settings_to_tell(self, data: RowsDataModule, rows: Rows, learning: bool = False) -> Tensor:
        """Return the settings (row, setting) of rows as the model will be told them, in training or to judge."""
        return torch.from_numpy(data.settings_of(self.settings, rows))

    def told(self, batch: Batch) -> Tensor:
        """Return the settings of a batch, (batch, 1, setting) float64. Raises UserError where it lacks one."""
        return settings_of(batch, self.settings)

    # Loss --------------------------------------------------------------------------------------------------------

    def standardised_targets(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the true targets (batch, target), standardised."""
        if "targets" not in batch:
            raise UserError(
                f"the data have no columns {', '.join(self.targets)}: they can be predicted, not trained on"
            )
        return self.reconstructor.target_scaler(batch["targets"]).to(dtype)

    def objective(self, noisy: Batch, clean: Batch, epoch: int = FROZEN_EPOCH) -> tuple[Tensor, Outcome | None]:
        """Return the mean loss of a corrupted batch, and the outcome when targets are regressed.

        What masking hides of a row is other in each epoch of the training, and the same whenever it is judged.
        """
        outcome = self.reconstructor.standardised(noisy["inputs"], masks_of(noisy)) if self.regresses else None
        if outcome is None:
            loss = next(iter(noisy["inputs"].values())).new_zeros(())
        else:
            done = self._done(epoch)
            loss = self.reconstructor.with_denoiser(self.regression_loss(outcome, noisy), outcome, noisy, clean, done)
        for task in self.tasks:
            loss = loss + task.objective(self.reconstructor, noisy, clean, self._random(noisy, epoch))
        return loss, outcome

    def _done(self, epoch: int) -> float:
        """Return the share of the epochs that lies behind; all of them where it is judged, or the end is not known."""
        last = self._trainer.max_epochs if self._trainer is not None else None
        return 1.0 if epoch <= FROZEN_EPOCH or not last or last < 2 else epoch / (last - 1)

    def regression_loss(self, outcome: Outcome, batch: Batch) -> Tensor:
        """Return the mean loss of the targets, with that of the landmark and what laws are broken by."""
        truth = self.standardised_targets(batch, outcome.distribution.dtype)
        losses = self.loss(outcome.distribution, truth)
        loss = losses.mean() if self.row_weights is None else (self.row_weights(batch).to(losses) * losses).mean()
        for law in self.laws:
            loss = loss + law(self.reconstructor.uncalibrated(outcome.distribution), batch).to(loss.dtype)
        if outcome.measured is None or self.reconstructor.landmark is None:
            return loss
        return loss + self.reconstructor.landmark.loss(outcome.measured, self.landmark_column(batch))

    def landmark_column(self, batch: Batch) -> Tensor:
        """Return the column (batch,) that the landmark follows. Raises UserError when the data lack it."""
        assert self.reconstructor.landmark is not None
        return followed(batch, self.reconstructor.landmark.options.column, "model.landmark")

    def sheet_columns(self, batch: Batch) -> dict[str, Tensor]:
        """Return the columns (batch,) on which sheets are fitted. Raises UserError when the data lack one."""
        assert self.reconstructor.sheet is not None
        return {name: followed(batch, name, "model.sheet") for name in self.reconstructor.sheet.columns}

    # Steps -------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of corrupted inputs as the curriculum wants them now."""
        clean = self.easing.prepared(batch)
        noisy = self.easing.finished(self.inject(clean, self.current_epoch, self.easing.noise_scale))
        wanted = self.easing.finished(self.augmented(clean, self.current_epoch))
        replayed = None if self._captured is None else self._captured(noisy)
        loss = self.objective(noisy, wanted, self.current_epoch)[0] if replayed is None else replayed
        self.watch.note(loss, clean, self.current_epoch, batch_idx)
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
            raise NonFiniteLoss(found.explained(Checkpoints.folder(self.trainer) / LAST))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout from (seed, epoch, batch, rank), so that a resumed training draws the same."""
        key = f"{self.seed}/{self.current_epoch}/{batch_idx}/{self.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little"))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions and log the loss; that of an ensemble is no objective of anything."""
        judged = self.inject(batch, FROZEN_EPOCH)
        if self.others:
            self._validation.append(collect(self.of(judged), batch, self.calibrations))
            return
        with exact_convolutions():
            loss, outcome = self.objective(judged, batch)
        self.log("val/loss", loss, prog_bar=True, batch_size=len(batch["event_id"]), sync_dist=True)
        floor = cost_of_nothing(self.tasks, self.reconstructor, judged, batch, self._random(judged, FROZEN_EPOCH))
        if floor is not None:
            self.log("val/loss_of_nothing", floor, batch_size=len(batch["event_id"]), sync_dist=True)
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
        """Return the predictions of a batch, with frozen corruption: nominal, unless a prediction chose another scale.

        They are timed from the noisy records to the numbers on the host, as those of the estimators are.
        """
        judged = self.judged(batch)
        started = wall_seconds(self.device)
        said = self.predicted(batch, judged)
        collected = collect(said, batch if judged is None else judged, self.calibrations, whole=True)
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
        self.place.store(checkpoint, self.trainer, self.epoch_loss)
        self.average.store(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the weights and their average from a checkpoint to go on with the training."""
        self.card = {name: value for name, value in checkpoint[CARD].items() if name != "format"}
        self.place.load(checkpoint)
        self.average.restore(checkpoint)

    def on_train_start(self) -> None:
        """Go on behind the last batch of a checkpoint; on a GPU replay the steps where that is possible."""
        self.place.go_on(self.trainer, self.epoch_loss)
        if self.may_be_captured:
            self._captured = self.captured_objective()

    def on_train_end(self) -> None:
        """Let go of the memory of a captured step."""
        self._captured = None

    @property
    def may_be_captured(self) -> bool:
        """Whether the steps of this training may be replayed: on one GPU, where nothing but the batch differs in them.

        In deterministic mode they are not: a resumed training would meet its first step in the other form.
        """
        trainer = self.trainer
        more = self.tasks or len(self.laws)
        plain = self.regresses and not more and self.masking is None and self.reconstructor.front is None
        alone = trainer.world_size == 1 and trainer.accumulate_grad_batches == 1
        replayed = self.compile_encoders and self.compile_mode != "default"
        exact = torch.are_deterministic_algorithms_enabled()
        return self.cuda_graph and self.device.type == "cuda" and plain and alone and not replayed and not exact

    def captured_objective(self) -> CapturedObjective:
        """Return the objective of corrupted batches, replayed as a CUDA graph on a GPU."""
        parts = nn.ModuleList(part for part in (self.reconstructor, self.loss) if isinstance(part, nn.Module))
        return CapturedObjective(parts, lambda noisy: self.objective(noisy, noisy)[0])

    def setup(self, stage: str) -> None:
        """Compile what was asked for. Raises UserError where there is no compiler."""
        if stage == "fit" and self.compile_encoders:
            compile_encoders(self.reconstructor, self.trainer.strategy.root_device.type, self.compile_mode)

    def configure_optimizers(self) -> Any:
        """Return AdamW with groups from the layers' types, and the schedule."""
        return with_schedule(self.make_optimiser(), self.schedule, self.trainer)

    def make_optimiser(self) -> torch.optim.AdamW:
        """Return the optimiser with groups from the layers' types, at the peak rates."""
        return self.optimiser.make(self)
