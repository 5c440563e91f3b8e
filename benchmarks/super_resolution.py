"""From 2 048 samples of a record to the spectrum of 8 192: a network, zero padding, the likelihood, and the bound.

    python benchmarks/super_resolution.py                    6 000 records, 2 000 steps, 500 judged; one core
    python benchmarks/super_resolution.py --records 60000 --steps 20000 --judged 5000
    python benchmarks/super_resolution.py --pretrained runs/pretrain/checkpoints/best.ckpt --trainable_layers 0

Trains configs/super_resolve.yaml on simulated electrons of the default apparatus and judges it on others. Rebuilt is
the noiseless spectrum around the carrier that is found in the seen samples, without the carrier's own bin; an error is
the sum of its squares over all bins, in units of the noise of one. Beside it stand nothing, zero padding as it is and
times the one factor that suits records of the training best, and the forward model at the likelihood's estimate from
the same samples, or its mean over the Gaussian posterior that the likelihood states. The floor is the spread of the
forward model over the Cramér–Rao bound around the truth (radius known): the mean error of who knows the posterior of an
efficient estimate and answers with its mean. The same command goes on where it was stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cres import errors, schema
from cres.data.electrons import SERIES
from cres.data.module import CresDataModule
from cres.estimation.apparatus import LARGEST_PITCH_DEG, Apparatus
from cres.estimation.bound.information import fisher_information
from cres.estimation.fit.likelihood import FREE, LikelihoodEstimator
from cres.estimation.noise import White
from cres.estimation.search.matched_filter import MatchedFilter
from cres.evaluation.resolved import RESOLVED
from cres.simulation import SimulationConfig
from cres.simulation.parameters import PARAMETERS, PITCH, parameter_rows
from cres.transforms import FROZEN_EPOCH
from cres.transforms.spectrum import from_complex, to_complex
from heads import BATCH, WHOLE, add_start, fit, made_folder, make_records, parser_of, start_of
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.loading import load_module

POSTERIOR = 24
"""Draws of a posterior whose mean is taken."""
MEAN = "likelihood, mean of its posterior"
Values = NDArray[np.float64]


class Judge:
    """What each method makes of the seen samples, and how far it is from the truth, record by record."""

    def __init__(self, model: Learner, config: SimulationConfig) -> None:
        task = model.super_resolution
        assert task is not None
        self.model, self.task, self.view = model, task, model.reconstructor.views[task.options.view]
        self.whole = Apparatus.from_config(config)
        short = replace(config, readout=replace(config.readout, samples=task.options.samples))
        self.short = Apparatus.from_config(short)
        self.likelihood = LikelihoodEstimator(MatchedFilter(self.short))

    @torch.no_grad()
    def errors(
        self, clean: dict[str, Tensor], noisy: dict[str, Tensor], truth: Tensor, factor: float
    ) -> dict[str, Tensor]:
        """Return the error of each method, (batch,) in units of the noise of a bin, squared and summed."""
        seen = self.task.seen(self.model.reconstructor, noisy)
        wanted = self._framed(clean[SERIES], seen)
        padded = self.padded(noisy)
        records = to_complex(noisy[SERIES])[:, : self.task.options.samples, 0]
        fitted = self.likelihood.estimate(records)
        mean, spread = self._over(fitted.parameters, fitted.covariance, seen)
        made = {
            "nothing": torch.zeros_like(wanted),
            "zero padding": padded,
            f"zero padding × {factor:.2f}": factor * padded,
            "network": self.task(self.model.reconstructor, noisy)[..., : self.view.in_phase],
            "likelihood": self._rendered(fitted.parameters, seen),
            MEAN: mean,
        }
        found = {name: (one - wanted).square().sum(dim=(1, 2)) for name, one in made.items()}
        found[MEAN] -= spread / POSTERIOR  # what the mean of so few draws errs by alone
        noise = White(self.short.noise_std_volt)
        covariance = torch.linalg.inv(fisher_information(self.short.model, truth, noise, FREE))
        return {**found, "floor": self._over(truth, covariance, seen)[1]}

    def _rendered(self, parameters: Tensor, seen: Tensor) -> Tensor:
        return self._framed(from_complex(self.whole.model(parameters)[:, :, None]), seen)

    def _over(self, centre: Tensor, covariance: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and summed variance of the forward model over a Gaussian around parameters, of `FREE`."""
        columns = [PARAMETERS.index(name) for name in FREE]
        scale = covariance.diagonal(dim1=1, dim2=2).sqrt()
        factor = torch.linalg.cholesky(covariance / scale[:, :, None] / scale[:, None, :]) * scale[:, :, None]
        random = torch.Generator().manual_seed(0)
        mean, squares = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for _ in range(POSTERIOR):
            drawn = torch.randn(*scale.shape, 1, dtype=torch.float64, generator=random)
            tried = centre.clone()
            tried[:, columns] += (factor @ drawn)[:, :, 0]
            # an angle beyond 90° is one below it, and none is below what is trapped
            tried[:, PITCH] = (90 - (90 - tried[:, PITCH]).abs()).clamp(
                self.short.pitch_angles_deg[0], LARGEST_PITCH_DEG
            )
            one = self._rendered(tried, seen)
            mean, squares = mean + one / POSTERIOR, squares + one.square().sum(dim=(1, 2)) / POSTERIOR
        return mean, (squares - mean.square().sum(dim=(1, 2))) * POSTERIOR / (POSTERIOR - 1)

    def padded(self, noisy: dict[str, Tensor]) -> Tensor:
        """Return the view of the record with nothing behind what is seen, in units of the noise of a whole record."""
        whole, samples = noisy[SERIES], self.task.options.samples
        nothing = torch.zeros_like(whole[:, samples:])
        return self._framed(
            torch.cat((whole[:, :samples], nothing), dim=1), self.task.seen(self.model.reconstructor, noisy)
        )

    def best_factor(self, clean: dict[str, Tensor], noisy: dict[str, Tensor]) -> float:
        """Return the number that zero padding is multiplied by for the least squares of these records."""
        wanted = self._framed(clean[SERIES], self.task.seen(self.model.reconstructor, noisy))
        padded = self.padded(noisy)
        return float((wanted * padded).sum() / padded.square().sum())

    def _framed(self, series: Tensor, seen: Tensor) -> Tensor:
        """Return the spectrum itself, without what a view shows of it once more at half the distance."""
        found: Tensor = self.view.framed(series, seen).series[..., : self.view.in_phase]
        return found


def batches(
    model: Learner, data: Path, rows: NDArray[np.int64]
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], NDArray[np.int64]]]:
    """Yield clean and noisy records, float64, and their rows."""
    source = CresDataModule(str(data), targets=schema.DEFAULT_TARGETS, batch_size=BATCH)
    for batch, part in zip(
        source.rows_dataloader(rows), np.array_split(rows, range(BATCH, len(rows), BATCH)), strict=True
    ):
        noisy = model.inject(batch, FROZEN_EPOCH)["inputs"]
        yield *({name: values.double() for name, values in one.items()} for one in (batch["inputs"], noisy)), part


def judged(model: Learner, train_data: Path, data: Path, count: int) -> tuple[dict[str, Values], Values, float]:
    """Return the errors of each method, the SNR of the sidebands, and processor seconds of a record, all methods."""
    judge = Judge(model, SimulationConfig())
    clean, noisy, _ = next(batches(model, train_data, np.arange(BATCH * 8)))
    factor = judge.best_factor(clean, noisy)
    source = CresDataModule(str(data), targets=schema.DEFAULT_TARGETS).records
    known = {name: source.scalar(column) for name, column in columns_of(source.scalar_columns).items()}
    found: list[dict[str, Tensor]] = []
    begun = time.process_time()
    for clean, noisy, rows in batches(model, data, np.arange(count)):
        truth = parameter_rows(**{name: values[rows] for name, values in known.items()})
        found.append(judge.errors(clean, noisy, truth, factor))
    spent = (time.process_time() - begun) / count
    together = {name: torch.cat([one[name] for one in found]).numpy() for name in found[0]}
    return together, source.scalar("sideband_snr")[:count], spent


def columns_of(known: tuple[str, ...]) -> dict[str, str]:
    """Return the column of each parameter of the forward model."""
    return {schema.prediction_name(name): name for name in known if schema.prediction_name(name) in PARAMETERS}


def table_of(found: dict[str, Values], resolved: NDArray[np.bool_]) -> str:
    """Return Markdown: the median error of each method, the quartiles, and its share of the energy of the lines."""
    lines = [
        "| | electrons | median error | middle half | over the lines | below the likelihood's |",
        "|---|---" + "|---:" * 4 + "|",
    ]
    for words, chosen in (("resolved", resolved), ("all", resolved | True)):
        for name, error in found.items():
            low, middle, high = np.quantile(error[chosen], [0.25, 0.5, 0.75])
            share = np.median(error[chosen] / found["nothing"][chosen])
            better = np.mean(error[chosen] < found["likelihood"][chosen])
            cells = (f"{middle:.4g}", f"{low:.4g} to {high:.4g}", f"{100 * share:.3g} %", f"{100 * better:.0f} %")
            lines.append(f"| {name} | {words} ({chosen.sum()}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = parser_of(__doc__, "super_resolution", records=6_000, judged=500, steps=2_000)
    add_start(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, (name, options) = made_folder(arguments), start_of(arguments)
    known = make_records(folder, "train", arguments.records, seed=31)
    best = fit("super_resolve", folder / name, known, arguments.steps, arguments.records, options)
    model = load_module(best).double()
    data = make_records(folder, "judge", arguments.judged, seed=32)
    found, sideband_snr, spent = judged(model, known, data, arguments.judged)
    print(f"{name}: {arguments.judged} electrons, {spent:.2f} s of processor each for all methods\n")
    print(table_of(found, sideband_snr >= RESOLVED.minimum))
    values = model.reconstructor.views[model.super_resolution.options.view].bins(WHOLE) * 4
    print(f"\nA whole record as it is measured errs by the noise of its {values} numbers: {values}.")


if __name__ == "__main__":
    errors.run(main)
