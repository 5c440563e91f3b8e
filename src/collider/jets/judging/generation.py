"""How well drawn jets pass for simulated ones: each figure beside what two samples of simulated jets have of it.

Both kinds are described by their constituents alone, through the same code, and as many of each are compared. A figure
without its floor says little: two finite samples of one distribution are never alike.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import wasserstein_distance

from collider.generation.wheels import wheel
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.drawn import drawn_like, generation_of, learned_rows
from collider.jets.learning.module import JetModule
from collider.jets.quantities import (
    JetArrays,
    Numbers,
    ParticleArrays,
    axis_quantities,
    shape_quantities,
    substructure_quantities,
)
from reconstruction.errors import UserError
from reconstruction.judging.measures.separation import area_under_curve

FEWEST: Final = 20
"""Jets of a sample, below which a classifier learns them by heart."""
FOLDS: Final = 5
ROUNDS: Final = 100
BINS: Final = 50
KERNEL_QUANTITIES: Final = ("jet_mass", "jet_pt", "jet_nparticles", "girth", "pt_dispersion")
"""What the kernel of the MMD sees, each in units of its spread among simulated jets."""
NOT_JUDGED: Final = ("jet_phi", "jet_energy")
"""φ is uniform, and the energy is that of pT, η and mass."""
UNITS: Final = {"mass": "gev", "pt": "gev", "multiplicity": ""}
_DISTANCES: Final = {"mass": "jet_mass", "pt": "jet_pt", "multiplicity": "jet_nparticles"}
_PARTICLES: Final = ("pt", "part_deta", "part_dphi", "part_energy")
Figures = dict[str, float]


class Described(NamedTuple):
    """Jets with what they are described by, (jet,) each."""

    jets: JetArrays
    quantities: dict[str, Numbers]

    @classmethod
    def of(cls, jets: ParticleArrays) -> Described:
        """Describe jets by their constituents."""
        arrays = JetArrays.of(jets)
        return cls(arrays, axis_quantities(arrays) | substructure_quantities(arrays) | shape_quantities(arrays))

    def select(self, rows: Any) -> Described:
        """Return some of them."""
        chosen = {name: values[rows] for name, values in self.quantities.items()}
        return Described(JetArrays.of(self.jets, rows), chosen)

    def table(self) -> Numbers:
        """Return what boosted trees see, (jet, quantity), with ratios of subjettiness."""
        kept = [values for name, values in self.quantities.items() if name not in NOT_JUDGED]
        tau = [self.quantities[f"jet_tau{number}"] for number in (1, 2, 3)]
        ratios = [np.divide(b, a, out=np.zeros_like(a), where=a > 0) for a, b in pairwise(tau)]
        return np.stack([*kept, *ratios], axis=1)


def generation_figures(generated: ParticleArrays, simulated: ParticleArrays, seed: int = 0) -> Figures:
    """Return how far generated jets are from simulated ones, and how far simulated ones from each other (`_floor`).

    generated: drawn for the conditions (class, pT) of the simulated ones; where there are as many, in their order.
    simulated: jets that nobody trained on; one half of them, at random, is compared with as many generated ones, and
    for the floor with the other half. Of as many generated ones those are taken that were drawn for the other half:
    both know as little of the conditions of the first.

    w1_mass_gev, w1_pt_gev, w1_multiplicity: Wasserstein distances. classifier_auc: area under the curve of boosted
    trees that tell both apart, each jet judged by trees that did not see it; classifier_auc_chance is the scatter of an
    area of one half. mmd2: squared maximum mean discrepancy,
    unbiased (Gretton et al. 2012, JMLR 13:723, eq. 3), of a Gaussian kernel exp(−d²/2h²) of KERNEL_QUANTITIES in units
    of their spreads, whose bandwidth h, mmd_bandwidth, is the median distance of simulated jets. particle_pt_kl_nats:
    KL divergence of ln pT of particles, simulated from generated, in BINS bins over the simulated range, half a
    particle more in each. particle_histogram_mse: mean squared difference of the shares in BINS bins of pT, Δη, Δφ and
    energy.

    Raises UserError for too few jets, and for samples of which another number of particles is read.
    """
    if generated.particles.shape[1] != simulated.particles.shape[1]:
        raise UserError(
            f"{generated.particles.shape[1]} particles are read of a generated jet and {simulated.particles.shape[1]} "
            "of a simulated one: read the same number of both"
        )
    size = min(len(generated.lengths), len(simulated.lengths) // 2)
    if size < FEWEST:
        raise UserError(
            f"{len(generated.lengths)} generated and {len(simulated.lengths)} simulated jets are too few: "
            f"{FEWEST} generated ones and twice as many simulated ones are needed"
        )
    random = np.random.default_rng(seed)
    order = random.permutation(len(simulated.lengths))
    true = Described.of(JetArrays.of(simulated, order[:size]))
    other = Described.of(JetArrays.of(simulated, order[size : 2 * size]))
    paired = len(generated.lengths) == len(simulated.lengths)
    rows = order[size : 2 * size] if paired else random.permutation(len(generated.lengths))[:size]
    drawn = Described.of(JetArrays.of(generated, rows))
    chance = np.sqrt(2 / size / 12)  # of an area of one half, Hanley and McNeil 1982, Radiology 143, 29
    found: Figures = {
        "jets_compared": float(size), "mmd_bandwidth": bandwidth(true), "classifier_auc_chance": float(chance)
    }  # fmt: skip
    for figures in (distances, separability, discrepancy, particle_histograms):
        found |= beside_floor(figures, drawn, other, true, seed)
    return found


def judged_generation(module: JetModule, data: JetDataModule, seed: int = 0) -> Figures:
    """Return the figures of jets that a trained module draws for class and pT of each jet of the test split.

    Jets of a class or pT that the training did not have are left out, jets_left_out. Raises UserError where the module
    draws none, or there are too few jets.
    """
    generation_of(module)
    rows = learned_rows(module, data, data.split.test)
    figures = generation_figures(drawn_like(module, data, rows, seed), JetArrays.of(data.records, rows), seed)
    return figures | {"jets_left_out": float(len(data.split.test) - len(rows))}


def beside_floor(
    figures: Callable[[Described, Described, int], Figures],
    drawn: Described,
    other: Described,
    true: Described,
    seed: int,
) -> Figures:
    """Return figures of drawn jets against true ones and, with `_floor` before the unit, those of other true ones."""
    floors = {_floor(name): value for name, value in figures(other, true, seed).items()}
    return figures(drawn, true, seed) | floors


def _floor(name: str) -> str:
    for unit in ("_gev", "_nats"):
        if name.endswith(unit):
            return f"{name.removesuffix(unit)}_floor{unit}"
    return f"{name}_floor"


def distances(first: Described, true: Described, seed: int = 0) -> Figures:
    """Return the Wasserstein distances of mass, pT and multiplicity."""
    found = {}
    for name, column in _DISTANCES.items():
        unit = f"_{UNITS[name]}" if UNITS[name] else ""
        found[f"w1_{name}{unit}"] = float(wasserstein_distance(first.quantities[column], true.quantities[column]))
    return found


def separability(first: Described, true: Described, seed: int = 0) -> Figures:
    """Return the area under the curve of boosted trees that tell both apart, by cross-validation.

    Raises UserError where scikit-learn is missing.
    """
    ensemble, selection = wheel("sklearn.ensemble"), wheel("sklearn.model_selection")
    seen = np.concatenate([first.table(), true.table()])
    label = np.repeat([0, 1], [len(first.jets.lengths), len(true.jets.lengths)])
    trees = ensemble.HistGradientBoostingClassifier(max_iter=ROUNDS, early_stopping=False, random_state=seed)
    folds = selection.StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    said = selection.cross_val_predict(trees, seen, label, cv=folds, method="predict_proba")[:, 1]
    area = area_under_curve(said, label > 0, np.ones((1, len(label))))[0]
    return {"classifier_auc": float(area)}


def bandwidth(true: Described) -> float:
    """Return the median distance between simulated jets, in units of the spreads of KERNEL_QUANTITIES."""
    points = _points(true, true)
    squares = _squared_distances(points, points)[np.triu_indices(len(points), 1)]
    return float(np.sqrt(np.median(squares)))


def discrepancy(first: Described, true: Described, seed: int = 0) -> Figures:
    """Return the squared maximum mean discrepancy; around 0, and below it by chance, for samples that are alike.

    MMD² = mean k(x, x') + mean k(y, y') − 2 mean k(x, y), no point with itself
    """
    width = bandwidth(true)
    x, y = _points(first, true), _points(true, true)

    def kernel(a: Numbers, b: Numbers) -> Numbers:
        return np.asarray(np.exp(-_squared_distances(a, b) / (2 * width**2)))

    def within(a: Numbers) -> float:
        return float((kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1)))

    return {"mmd2": within(x) + within(y) - 2 * float(kernel(x, y).mean())}


def _points(jets: Described, true: Described) -> Numbers:
    spread = np.array([true.quantities[name].std() or 1.0 for name in KERNEL_QUANTITIES])
    return np.stack([jets.quantities[name] for name in KERNEL_QUANTITIES], axis=1) / spread


def _squared_distances(a: Numbers, b: Numbers) -> Numbers:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0))


def particle_histograms(first: Described, true: Described, seed: int = 0) -> Figures:
    """Return the KL divergence of the particles' pT, and the mean squared difference of their histograms."""
    differences, divergence = [], 0.0
    for name in _PARTICLES:
        made, real = (_particles(one.jets, name) for one in (first, true))
        edges = np.linspace(real.min(), real.max(), BINS + 1)
        edges[-1] += 1e-9 + 1e-9 * abs(edges[-1])
        counts = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for values in (made, real)]
        shares = [count / count.sum() for count in counts]
        differences.append(np.mean((shares[0] - shares[1]) ** 2))
        if name == "pt":
            q, p = ((count + 0.5) / (count.sum() + 0.5 * BINS) for count in counts)
            divergence = float((p * np.log(p / q)).sum())
    return {"particle_pt_kl_nats": divergence, "particle_histogram_mse": float(np.mean(differences))}


def _particles(jets: JetArrays, name: str) -> Numbers:
    """Return one column of all particles; of pT and energy their logarithms."""
    values = (jets.pt_gev if name == "pt" else jets.column(name))[jets.real]
    return np.log(np.maximum(values, 1e-6)) if name in ("pt", "part_energy") else values
