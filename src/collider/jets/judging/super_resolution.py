"""How well the particles that were not seen are given back, beside copying those that were, and the mean of the class.

Distances are those of every particle, hard or soft: what is to be found is soft.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from collider.generation.kinematics import momentum
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.drawn import drawn_like, super_resolution_of
from collider.jets.learning.module import JetModule
from collider.jets.making.classes import KINDS
from collider.jets.quantities import COLUMN, JetArrays, Numbers, ParticleArrays, axis_quantities
from collider.jets.schema import CLASS
from reconstruction.errors import UserError

Figures = dict[str, float]
_AT_ONCE: Final = 64


def super_resolution_figures(made: ParticleArrays, true: ParticleArrays) -> Figures:
    """Return how far made jets are from the true ones, jet by jet in the same order; means over jets.

    chamfer_delta_r: half the mean distance from each true particle to the nearest made one, and half that from each
    made one to the nearest true one, in √(Δη² + Δφ²). chamfer_gev: the same of momenta, |p − p'| in GeV. pt_emd_gev:
    Wasserstein distance of the particles' pT within a jet. multiplicity_bias, multiplicity_rms: mean and root mean
    square of the made number minus the true one; multiplicity_relative_error: mean of its size over the true number.
    pt_bias_gev, mass_bias_gev, mass_rms_gev: of the sum of all particles.

    Raises UserError for other numbers of jets, or none.
    """
    if len(made.lengths) != len(true.lengths) or not len(true.lengths):
        raise UserError(
            f"{len(made.lengths)} made jets are compared with {len(true.lengths)} true ones: one is needed for each"
        )
    mine, theirs = JetArrays.of(made), JetArrays.of(true)
    away = mine.lengths.astype(np.float64) - theirs.lengths
    sums = [axis_quantities(jets) for jets in (mine, theirs)]
    pt, mass = (sums[0][name] - sums[1][name] for name in ("jet_pt", "jet_mass"))
    return {
        "jets": float(len(away)),
        "chamfer_delta_r": _chamfer(mine, theirs, ("part_deta", "part_dphi")),
        "chamfer_gev": _chamfer(mine, theirs, ("part_px", "part_py", "part_pz")),
        "pt_emd_gev": _transport(mine, theirs),
        "multiplicity_bias": float(away.mean()),
        "multiplicity_rms": float(np.sqrt((away**2).mean())),
        "multiplicity_relative_error": float((np.abs(away) / theirs.lengths).mean()),
        "pt_bias_gev": float(pt.mean()),
        "mass_bias_gev": float(mass.mean()),
        "mass_rms_gev": float(np.sqrt((mass**2).mean())),
    }


def judged_super_resolution(module: JetModule, data: JetDataModule, seed: int = 0) -> dict[str, Figures]:
    """Return the figures of the test split completed by a trained module (`made`), and those of its rivals.

    copied: nothing is added to what is seen. class_mean: the mean particles of each jet's class in the training split,
    where the data have classes. Raises UserError where the module completes no jets, or the test split is empty.
    """
    seen, records, rows = super_resolution_of(module).options.seen, data.records, data.split.test
    true = JetArrays.of(records, rows)
    found = {
        "made": super_resolution_figures(drawn_like(module, data, rows, seed), true),
        "copied": super_resolution_figures(copied(true, seen), true),
    }
    if CLASS in records.columns:
        code, learned = np.asarray(records.scalar(CLASS)), data.split.train
        mean = ClassMean.fit(JetArrays.of(records, learned), code[learned], seen)
        found["class_mean"] = super_resolution_figures(mean.of(true, code[rows]), true)
    return found


def copied(true: ParticleArrays, seen: int) -> JetArrays:
    """Return the rival that gives back the `seen` hardest particles as they are, and no further one."""
    return JetArrays.of(true).hardest(seen)


@dataclass(frozen=True)
class ClassMean:
    """The rival that knows each jet's class: what is seen, and behind it the mean particles of that class.

    number: mean multiplicity of each class, NaN where it is not known. pt_share, deta, dphi (class, particle): mean
    share of the jet's seen pT, and mean direction, of the particle of each rank in pT.
    """

    seen: int
    codes: NDArray[np.int64]
    number: Numbers
    pt_share: Numbers
    deta: Numbers
    dphi: Numbers

    @classmethod
    def fit(cls, learned: ParticleArrays, code: NDArray[Any], seen: int) -> ClassMean:
        """Take the means of jets of the training split, whose class (jet,) is given by its code."""
        jets = JetArrays.of(learned)
        codes = np.array([kind.code for kind in KINDS])
        belongs = (np.asarray(code)[None, :] == codes[:, None]).astype(np.float64)
        weights = belongs @ jets.real
        share = jets.pt_gev / np.maximum(jets.hardest(seen).pt_gev.sum(axis=1, keepdims=True), 1e-9)

        def mean(values: Numbers) -> Numbers:
            return np.divide(belongs @ values, weights, out=np.zeros_like(weights), where=weights > 0)

        counts = belongs.sum(axis=1)
        number = np.divide(belongs @ jets.lengths, counts, out=np.full(len(codes), np.nan), where=counts > 0)
        return cls(seen, codes, number, mean(share), mean(jets.column("part_deta")), mean(jets.column("part_dphi")))

    def of(self, true: ParticleArrays, code: NDArray[Any]) -> JetArrays:
        """Return jets of these classes. Raises UserError for a class of which none was learned."""
        jets, place = JetArrays.of(true), np.searchsorted(self.codes, code)
        unknown = ~np.isin(code, self.codes[np.isfinite(self.number)])
        if unknown.any():
            raise UserError(f"no jet of the class {int(np.asarray(code)[unknown][0])} is known to take the mean of")
        width = jets.particles.shape[1]
        first = np.minimum(jets.lengths, self.seen)
        # of a jet with fewer particles than are seen nothing is missing
        wanted = np.where(jets.lengths < self.seen, first, np.maximum(np.rint(self.number[place]), first))
        lengths = np.minimum(wanted, width).astype(np.int64)
        rank = np.arange(width)
        added = (rank >= first[:, None]) & (rank < lengths[:, None])
        total = jets.hardest(self.seen).pt_gev.sum(axis=1, keepdims=True)
        axis = axis_quantities(jets.hardest(self.seen))
        deta, dphi = self.deta[place], self.dphi[place]
        side = np.where(axis["jet_eta"] > 0, 1.0, -1.0)[:, None]
        four = momentum(
            self.pt_share[place] * total, axis["jet_eta"][:, None] + side * deta, axis["jet_phi"][:, None] + dphi
        )
        energy = np.sqrt(sum(part**2 for part in four))
        made = {"part_px": four.px, "part_py": four.py, "part_pz": four.pz, "part_energy": energy,
                "part_deta": deta, "part_dphi": dphi}  # fmt: skip
        particles = np.where((rank < first[:, None])[..., None], jets.particles, 0)
        for name, values in made.items():
            particles[..., COLUMN[name]] = np.where(added, values, particles[..., COLUMN[name]])
        return JetArrays(particles.astype(np.float32), lengths)


def _chamfer(mine: JetArrays, theirs: JetArrays, columns: tuple[str, ...]) -> float:
    places = [np.stack([jets.column(name) for name in columns], axis=2) for jets in (mine, theirs)]
    found = []
    for start in range(0, len(theirs.lengths), _AT_ONCE):
        chosen = slice(start, start + _AT_ONCE)
        away = places[0][chosen][:, :, None] - places[1][chosen][:, None]
        distance = np.sqrt((away**2).sum(axis=3))
        there = mine.real[chosen][:, :, None] & theirs.real[chosen][:, None]
        distance = np.where(there, distance, np.inf)
        for axis, jets in ((2, mine), (1, theirs)):
            nearest = np.where(jets.real[chosen], distance.min(axis=axis), 0.0)
            found.append(nearest.sum(axis=1) / np.maximum(jets.lengths[chosen], 1))
    return float(np.concatenate(found).mean())


def _transport(mine: JetArrays, theirs: JetArrays) -> float:
    pairs = zip(mine.pt_gev, mine.lengths, theirs.pt_gev, theirs.lengths, strict=True)
    found = [wasserstein_distance(made[:count], true[:length]) for made, count, true, length in pairs]
    return float(np.mean(found))
