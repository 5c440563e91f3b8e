"""How well a network draws records for given energy, pitch angle and radius, against a simulated-simulated floor.

    python benchmarks/generation.py                    12 000 short records, 1 400 steps, 2 000 judged; one core
    python benchmarks/generation.py --apparatus cavity_26ghz_modes --folder runs/generation_modes
    python benchmarks/generation.py --records 100000 --steps 30000 --judged 20000
    python benchmarks/generation.py --pretrained runs/pretrain/checkpoints/best.ckpt --trainable_layers 0

Trains configs/generate.yaml on simulated records with noise and draws records for the energies, pitch angles and
radii of electrons that it has not seen, with the flow that draws latent numbers, and with the same network's normal
prior in its place. Drawn and simulated ones get noise alike. A classifier sees where each line should stand: the
spectrum there and in the bins beside it, turned by the phase of the strongest, and what was given. Its area under the
ROC curve between two sets of simulated records is the floor; between simulated ones and ones that are wrong it has to
rise: ones without sidebands, ones whose lines have phases of their own, ones for a pitch angle 0.1° off. Then the
likelihood reads simulated and drawn records: the part that noise does not explain (p below 0.01), and the pulls of
energy and pitch angle from what was asked for. Short records have a quarter of the default's noise density, so that
an electron has the signal-to-noise ratio of a whole record. The same command goes on where it was stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collider.showers.separation import area_between
from cres import errors
from cres.data.electrons import SERIES
from cres.data.module import CresDataModule
from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.likelihood import LikelihoodEstimator
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import SimulationConfig
from cres.simulation.rendered_lines import RenderedLines
from cres.transforms import FROZEN_EPOCH
from cres.transforms.spectrum import to_complex
from heads import PLAIN, SHORT, add_start, fit, made_folder, make_records, parser_of, simulation_of, start_of
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.tasks.generation import Generation
from reconstruction.training.runs.loading import load_module

JUDGED = {"simulated": 42, "again": 43}
"""Seeds of two sets of records to judge by."""
BESIDE = 2
"""Bins on either side of a line that the classifier sees."""
OFF_DEG = 0.1
FIT_BLOCK = 128
Values = NDArray[np.float64]


class Electrons:
    """Records of a file or of a network with noise, (record, sample, 2), and what was given."""

    def __init__(self, noisy: Tensor, given: Tensor) -> None:
        self.noisy, self.given = noisy, given

    @classmethod
    def with_noise(cls, clean: Tensor, given: Tensor, event_id: Tensor, model: Learner) -> Electrons:
        """Return records with the noise that judges."""
        batch = {"inputs": {SERIES: clean}, "event_id": event_id}
        return cls(model.inject(batch, FROZEN_EPOCH)["inputs"][SERIES], given)

    def first(self, count: int) -> Electrons:
        """Return the first of them."""
        return Electrons(self.noisy[:count], self.given[:count])

    @classmethod
    def of_file(cls, path: Path, model: Learner) -> Electrons:
        """Return the electrons of a file."""
        source = CresDataModule(str(path), targets=model.targets, batch_size=512)
        batches = list(source.rows_dataloader(np.arange(len(source.records.event_ids))))
        clean = torch.cat([batch["inputs"][SERIES] for batch in batches])
        return cls.with_noise(
            clean, *(torch.cat([batch[name] for batch in batches]) for name in ("targets", "event_id")), model
        )


def features(electrons: Electrons, task: Generation) -> Values:
    """Return what the classifier sees, in units of the noise."""
    rendering, names = task.rendering, task.targets
    truths = dict(zip(names, electrons.given.unbind(1), strict=True))
    samples = electrons.noisy.shape[1]
    time_of = torch.arange(samples) / samples
    found = []
    for offset in range(-BESIDE, BESIDE + 1):
        angle = -2 * torch.pi * offset * time_of
        shifted = to_complex(electrons.noisy)[:, :, 0] * torch.polar(torch.ones_like(angle), angle)
        found.append(rendering.values(torch.view_as_real(shifted), truths))
    lines = torch.view_as_complex(torch.stack(found, dim=1).unflatten(2, (-1, 2)).contiguous()).flatten(1)
    strongest = lines.gather(1, lines.abs().argmax(dim=1, keepdim=True))
    turned = torch.view_as_real(lines * (strongest.conj() / strongest.abs())).flatten(1)
    return torch.cat((turned, lines.abs(), task.conditions(electrons.given).float()), dim=1).double().numpy()


def wrong(task: Generation, like: Electrons, event_id: Tensor, model: Learner) -> dict[str, Electrons]:
    """Return drawn records that are wrong in a way that a classifier has to see."""
    clean = task.draw(like.given, SHORT, seed=5)
    truths = dict(zip(task.targets, like.given.unbind(1), strict=True))
    lines = task.rendering.values(clean, truths)
    central = torch.tensor([m == 0 for m in task.rendering.harmonics]).repeat_interleave(2)
    pairs = torch.view_as_complex(lines.unflatten(1, (-1, 2)).contiguous())
    angle = 2 * torch.pi * torch.rand(pairs.shape, generator=torch.Generator().manual_seed(1))
    own = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(1)
    as_drawn = torch.zeros(len(lines), task.rendering.phases)
    column = task.targets.index("pitch_angle_deg")
    off = like.given.clone()
    off[:, column] = (off[:, column] + OFF_DEG).clamp(max=float(task.conditions.high[column]))
    made = {
        "without sidebands": task.rendering.series(lines * central, truths, SHORT, as_drawn),
        "lines with phases of their own": task.rendering.series(own, truths, SHORT, as_drawn),
        f"for a pitch angle {OFF_DEG:g}° off": task.draw(off, SHORT, seed=5),
    }
    return {name: Electrons.with_noise(one, like.given, event_id, model) for name, one in made.items()}


def residuals(electrons: Electrons, likelihood: LikelihoodEstimator) -> str:
    """Return cells: the part of records that noise does not explain, middle and width of pulls from what was given."""
    found = [likelihood.estimate(to_complex(part.double())[:, :, 0]) for part in electrons.noisy.split(FIT_BLOCK)]
    goodness, converged = (torch.cat([getattr(one, name) for one in found]) for name in ("goodness", "converged"))
    estimate = torch.cat([one.parameters[:, :2] for one in found])
    std = torch.cat([one.covariance[:, :2, :2] for one in found]).diagonal(dim1=1, dim2=2).sqrt()
    pulls = ((estimate - electrons.given[:, :2]) / std)[converged].numpy()
    bad = float((goodness < 0.01).double().mean())
    low, middle, high = np.nanquantile(pulls, [0.1587, 0.5, 0.8413], axis=0)
    cells = [f"{100 * bad:.2f} ± {100 * np.sqrt(max(bad, 1e-3) / len(goodness)):.2f}"]
    cells += [f"{middle[i]:+.3f}, {(high[i] - low[i]) / 2:.3f}" for i in range(2)]
    return " | ".join(cells)


def main() -> None:
    parser = parser_of(__doc__, "generation", records=12_000, judged=2_000, steps=1_400)
    parser.add_argument("--apparatus", default=PLAIN, help="a name in configs/simulation (default %(default)s)")
    parser.add_argument("--fitted", type=int, default=256, help="of them read by the likelihood (default %(default)s)")
    add_start(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, (name, options) = made_folder(arguments), start_of(arguments)
    apparatus = arguments.apparatus
    data = make_records(folder, "train", arguments.records, 41, SHORT, apparatus)
    files = [make_records(folder, kind, arguments.judged, seed, SHORT, apparatus) for kind, seed in JUDGED.items()]
    simulation = simulation_of(folder)
    options.append(f"--model.generation.rendering.init_args.simulation={simulation}")
    model = load_module(fit("generate", folder / name, data, arguments.steps, arguments.records, options))
    likelihood = LikelihoodEstimator(MatchedFilter(Apparatus.from_config(SimulationConfig.from_yaml(simulation))))
    judge(model, files, likelihood, arguments.fitted)


@torch.no_grad()
def judge(model: Learner, files: list[Path], likelihood: LikelihoodEstimator, fitted: int) -> None:
    """Print the tables, the first `fitted` records of each kind read by the likelihood."""
    task = model.generation
    assert task is not None
    truth, again = (Electrons.of_file(path, model) for path in files)
    print(costs(again, task), flush=True)
    seen, ids = features(truth, task), torch.arange(len(again.given)) + 10**9
    kinds = {"simulated": again} | drawn(task, again, ids, model) | wrong(task, again, ids, model)
    heads = ("area under the curve", "p below 0.01 (%)", "pull of the energy: middle, width", "of the pitch angle")
    print(f"\n| told from {len(truth.given)} simulated records | {' | '.join(heads)} |")
    print("|---" * 5 + "|")
    for name, electrons in kinds.items():
        with torch.enable_grad():
            area, chance = area_between(seen, features(electrons, task))
        cells = residuals(electrons.first(fitted), likelihood)
        print(f"| {name} | {area:.3f} (chance: 0.5 ± {chance:.3f}) | {cells} |", flush=True)


def costs(electrons: Electrons, task: Generation) -> str:
    """Return what simulated records cost, in nats: with the heights of the network, of the forward model, with none."""
    rendering = task.rendering
    assert isinstance(rendering, RenderedLines)
    truths = dict(zip(task.targets, electrons.given.unbind(1), strict=True))
    given = task.conditions(electrons.given).float()
    latent = torch.randn(len(given), task.options.latent, generator=torch.Generator().manual_seed(6))
    if task.flow is not None:
        latent = task.flow.flown(latent, given)
    samples = electrons.noisy.shape[1]
    kinds = {"network": task.decoded(latent, given), "forward model": rendering.heights(truths, samples).float()}
    kinds["noise alone"] = torch.zeros_like(kinds["network"])
    found = {name: rendering.misfit(electrons.noisy, truths, made).mean() for name, made in kinds.items()}
    return "nats a record: " + ", ".join(f"{name} {float(cost):.2f}" for name, cost in found.items())


def drawn(task: Generation, like: Electrons, event_id: Tensor, model: Learner) -> dict[str, Electrons]:
    """Return records drawn with the flow, where there is one, and with a normal prior in its place."""
    found, flow = {}, task.flow
    for prior, used in (("flow", flow), ("normal", None)):
        if prior == "flow" and flow is None:
            continue
        task.flow = used
        begun = time.process_time()
        name = f"drawn, prior: {prior}"
        found[name] = Electrons.with_noise(task.draw(like.given, SHORT, seed=3), like.given, event_id, model)
        rate = len(event_id) / (time.process_time() - begun)
        print(f"{name}: {rate:.0f} records with noise a second of processor", flush=True)
    task.flow = flow
    return found


if __name__ == "__main__":
    errors.run(main)
