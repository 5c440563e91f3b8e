"""What a masked pre-training rebuilds: each hidden particle, and the four-momentum of its jet, which the loss of the
particles alone does not look at.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from collider.jets.judging.sources import JetRun
from collider.jets.learning.masking import MaskedParticles
from collider.jets.learning.rebuilt import RebuiltJets, off_shell
from collider.jets.networks.particles import ParticleEncoder
from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array, Figure, Sample, bootstrapped
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom
from reconstruction.records.batch import masks_of

REBUILT: Final = "rebuilt"
MEAN: Final = "mean_particle"
"""Who says the mean of all particles for each: what a rebuilding is to beat."""
RESAMPLES: Final = 200
NUMBERS: Final = ("pt", "eta", "phi", "energy")


class Rebuilt(NamedTuple):
    """Hidden particles of many jets and the jets that they are of, rebuilt and true."""

    made: Array
    """(particle, 4): pT (GeV), η, φ, E (GeV)."""
    true: Array
    row: NDArray[np.int64]
    """Of the jet, (particle,)."""
    off_shell: Array
    """ln(E/|p|) of what is rebuilt, less that of the true particle, (particle,)."""
    jets: Array
    """(jet, 4): px, py, pz, E in GeV, with what is rebuilt in the place of what is hidden."""
    whole: Array


@torch.no_grad()
def rebuilt_of(run: JetRun) -> dict[str, Rebuilt]:
    """Return what a run rebuilds of its test split, and what the mean particle would be, by name.

    What is hidden is what its validation hides. Raises UserError for a run that hides nothing, or without test jets.
    """
    task, module = run.module.masking, run.module
    if not isinstance(task, MaskedParticles):
        raise UserError(f"{run.folder} rebuilds no particles: it was trained without model.masking")
    if not len(run.data.split.test):
        raise UserError(f"the test split of {run.folder} is empty: there is nothing to rebuild")
    view = next(iter(task.decoders))
    encoder = module.reconstructor.fusion.encoders[view]
    assert isinstance(encoder, ParticleEncoder)
    parts: dict[str, list[RebuiltJets]] = {REBUILT: [], MEAN: []}
    for batch in run.data.test_dataloader():
        placed = module.placed(batch)
        inputs = placed["inputs"]
        random = KeyedRandom(module.noise_seed, FROZEN_EPOCH, placed["event_id"], next(iter(inputs.values())).device)
        found = task.rebuilt(view, module.reconstructor, inputs, masks_of(placed), random)
        parts[REBUILT].append(found.jets(encoder.scales))
        parts[MEAN].append(found.nothing().jets(encoder.scales))
    return {name: _joined(several) for name, several in parts.items()}


def _joined(parts: list[RebuiltJets]) -> Rebuilt:
    starts = np.cumsum([0, *(len(part.whole) for part in parts)])
    away = torch.cat([off_shell(part.made) - off_shell(part.true) for part in parts])
    made, true, jets, whole = (
        torch.cat(several).double().cpu().numpy()
        for several in zip(*((part.made, part.true, part.jets, part.whole) for part in parts), strict=True)
    )
    row = np.concatenate([part.row.cpu().numpy() + start for part, start in zip(parts, starts[:-1], strict=True)])
    return Rebuilt(made, true, row, away.double().cpu().numpy(), jets, whole)


def rebuilding_figures(found: Rebuilt, seed: int = 0) -> dict[str, Figure]:
    """Return how well particles and jets are rebuilt, with intervals over resampled jets.

    pt_bias, energy_bias: median of ln(rebuilt/true); pt_width, energy_width: σ68 of it; eta_width, phi_width: σ68 of
    the differences. shell_width: σ68 of ln(E/|p|) about the true one. jet_pt_response, jet_mass_response: median of
    rebuilt over true, of jets with something hidden; jet_pt_width, jet_mass_width: σ68 of that.
    """
    log = np.log(np.maximum(found.made, 1e-3)[:, [0, 3]] / np.maximum(found.true, 1e-3)[:, [0, 3]])
    away = found.made - found.true
    turned = (away[:, 2] + np.pi) % (2 * np.pi) - np.pi
    held = np.unique(found.row)
    ratios = {
        "jet_pt": (np.hypot(*found.jets[:, :2].T) / np.hypot(*found.whole[:, :2].T))[held],
        "jet_mass": (_mass(found.jets) / np.maximum(_mass(found.whole), 1e-3))[held],
    }
    place = np.searchsorted(held, found.row)

    def statistics(weights: Array) -> dict[str, Array]:
        particles = weights[:, place]
        samples = {
            name: Sample(values, particles)
            for name, values in (("pt", log[:, 0]), ("eta", away[:, 1]), ("phi", turned), ("energy", log[:, 1]),
                                 ("shell", found.off_shell))
        }  # fmt: skip
        figures = {f"{name}_width": sample.sigma68() for name, sample in samples.items()}
        figures |= {f"{name}_bias": samples[name].quantile(0.5) for name in ("pt", "energy")}
        for name, values in ratios.items():
            sample = Sample(values, weights)
            figures |= {f"{name}_response": sample.quantile(0.5), f"{name}_width": sample.sigma68()}
        return figures

    return bootstrapped(statistics, len(held), RESAMPLES, seed)


def _mass(four: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(four[:, 3] ** 2 - (four[:, :3] ** 2).sum(axis=1), 0)))


def rebuilding_entry(run: JetRun) -> dict[str, dict[str, Figure] | int]:
    """Return the figures of what a run rebuilds and of the mean particle, and the numbers of jets and particles."""
    found = rebuilt_of(run)
    counts: dict[str, Any] = {"jets": len(np.unique(found[REBUILT].row)), "particles": len(found[REBUILT].row)}
    return counts | {name: rebuilding_figures(one) for name, one in found.items()}
