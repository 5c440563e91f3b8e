"""What an analysis sees of an event: leptons with their isolation, jets with b tags, missing transverse momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.events import final, heavy_hadrons
from collider.generation.jets import Clustering, cluster
from collider.generation.kinematics import azimuth, delta_r, invariant_mass, pseudorapidity, transverse
from collider.generation.smearing import ELECTRON, MUON, Detector, Draws, smeared
from collider.generation.wheels import wheel
from reconstruction.errors import UserError
from reconstruction.random.keyed import KeyedRandom

JET: Final = 1
"""Kind of an object that is a jet; leptons have their PDG codes."""
OBJECT_FIELDS: Final = ("kind", "pt", "eta", "phi", "mass", "charge", "b_tag", "isolation", "prompt", "flavour")
HEAVY_PT_GEV: Final = 5.0
"""Of a hadron that makes its jet a b or a c jet."""


@dataclass(frozen=True)
class Leptons:
    """Which electrons and muons are objects: pT and |η|, and how much may be around them.

    isolation: largest sum of the pT of other particles within ΔR = `cone`, over the lepton's; leptons with more are
    parts of jets.
    """

    electron_pt_gev: float = 10.0
    electron_eta: float = 2.5
    muon_pt_gev: float = 10.0
    muon_eta: float = 2.4
    isolation: float = 0.15
    cone: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"leptons.{name} must be more than 0, not {value!r}")


def reconstruct(
    events: Any,
    detector: Detector,
    leptons: Leptons,
    clustering: Clustering,
    random: KeyedRandom,
    weigh_b_tags: bool = False,
) -> Any:
    """Return what is seen of events: `objects` (leptons, then jets, each hardest first), `missing_pt`, `missing_phi`.

    objects: a list for each event with OBJECT_FIELDS; kind is 11, 13 or 1 (a jet). Of leptons `prompt` and of jets
    `flavour` (5, 4 or 0) are the truth. weigh_b_tags: each event has a tag, and its weight the probability of that.
    """
    ak = wheel("awkward")
    seen = smeared(final(events), detector, random)
    seen = ak.with_field(seen, _is_lepton(seen, leptons), "is_lepton")
    found = seen[seen.is_lepton]
    isolation = _isolation(found, seen, leptons.cone)
    taken = isolation <= leptons.isolation
    electrons_and_muons = _lepton_objects(found[taken], isolation[taken])
    jets, probability = _jet_objects(
        _without(seen, taken), heavy_hadrons(events), clustering, detector, random, weigh_b_tags
    )
    missing_x, missing_y = -ak.sum(seen.px, axis=1), -ak.sum(seen.py, axis=1)
    return ak.zip(
        {
            "objects": ak.concatenate([electrons_and_muons, jets], axis=1),
            "missing_pt": transverse(missing_x, missing_y),
            "missing_phi": azimuth(missing_x, missing_y),
            "weight": events.weight * probability,
        },
        depth_limit=1,
    )


def _is_lepton(seen: Any, leptons: Leptons) -> Any:
    pt, eta = transverse(seen.px, seen.py), abs(pseudorapidity(seen.px, seen.py, seen.pz))
    electron = (seen.identified == ELECTRON) & (pt >= leptons.electron_pt_gev) & (eta <= leptons.electron_eta)
    return electron | ((seen.identified == MUON) & (pt >= leptons.muon_pt_gev) & (eta <= leptons.muon_eta))


def _isolation(found: Any, seen: Any, cone: float) -> Any:
    """Return the pT around leptons over their own; electrons and muons that are objects themselves do not count."""
    ak = wheel("awkward")
    others = seen[~seen.is_lepton]
    place = lambda group: ak.zip(  # noqa: E731
        {
            "pt": transverse(group.px, group.py),
            "eta": pseudorapidity(group.px, group.py, group.pz),
            "phi": azimuth(group.px, group.py),
        }
    )
    one, other = ak.unzip(ak.cartesian([place(found), place(others)], axis=1, nested=True))
    near = delta_r(one.eta, one.phi, other.eta, other.phi) < cone
    around = ak.sum(ak.where(near, other.pt, 0.0), axis=-1)
    return ak.fill_none(around, 0.0) / transverse(found.px, found.py)


def _without(seen: Any, taken: Any) -> Any:
    """Return what is seen without the leptons that are taken."""
    ak = wheel("awkward")
    flags = ak.flatten(seen.is_lepton).to_numpy().copy()
    flags[np.flatnonzero(flags)] = ak.flatten(taken).to_numpy()
    return seen[~ak.unflatten(flags, ak.num(seen))]


def _lepton_objects(found: Any, isolation: Any) -> Any:
    ak = wheel("awkward")
    zero = ak.zeros_like(found.px)
    objects = {
        "kind": found.identified,
        "pt": transverse(found.px, found.py),
        "eta": pseudorapidity(found.px, found.py, found.pz),
        "phi": azimuth(found.px, found.py),
        "mass": invariant_mass(found.px, found.py, found.pz, found.energy),
        "charge": found.charge,
        "b_tag": zero != 0,
        "isolation": isolation,
        "prompt": found.prompt,
        "flavour": ak.values_astype(zero, "int64"),
    }
    return _hardest_first(ak.zip({name: objects[name] for name in OBJECT_FIELDS}))


def _jet_objects(
    particles: Any, heavy: Any, clustering: Clustering, detector: Detector, random: KeyedRandom, weigh_b_tags: bool
) -> tuple[Any, NDArray[np.float64]]:
    """Return the jets of each event, and the probability of what was asked of their tags: 1 where nothing was."""
    ak = wheel("awkward")
    jets = cluster(particles, clustering)
    flavour = _flavour(jets, heavy, clustering.radius)
    counts = ak.num(jets).to_numpy()
    drawn = ak.unflatten(Draws(random, counts).uniform("tag"), counts)
    share = ak.where(flavour == 5, detector.b_tag, ak.where(flavour == 4, detector.c_tag, detector.light_tag))
    probability = np.ones(len(counts))
    if weigh_b_tags:
        share, probability = _with_one_tag(share, drawn)
    zero = ak.zeros_like(jets.pt)
    objects = {
        "kind": ak.values_astype(zero, "int64") + JET,
        **{name: jets[name] for name in ("pt", "eta", "phi", "mass", "charge")},
        "b_tag": drawn < share,
        "isolation": zero,
        "prompt": zero == 0,
        "flavour": flavour,
    }
    return _hardest_first(ak.zip({name: objects[name] for name in OBJECT_FIELDS})), probability


def _with_one_tag(share: Any, drawn: Any) -> tuple[Any, NDArray[np.float64]]:
    """Return the probabilities of tags, given that the event has one or more, and the probability (event,) of that.

    share, drawn: lists for each event, a jet each: probability, and the number from 0 to 1 that decides. One jet after
    the other: p before the first tag is p over the probability that this or a later jet has one; then it is p.
    """
    ak = wheel("awkward")
    counts = ak.num(share).to_numpy()
    size = max(1, int(counts.max(initial=0)))
    padded = lambda values, filling: ak.fill_none(ak.pad_none(values, size), filling).to_numpy()  # noqa: E731
    p, number = padded(share, 0.0), padded(drawn, 1.0)
    none_left = np.cumprod((1 - p)[:, ::-1], axis=1)[:, ::-1]
    given, tagged = p.copy(), np.zeros(len(p), dtype=bool)
    for jet in range(size):
        some = 1 - none_left[:, jet]
        first = np.divide(p[:, jet], some, out=np.zeros(len(p)), where=some > 0)
        given[:, jet] = np.where(tagged, p[:, jet], np.minimum(first, 1.0))
        tagged |= number[:, jet] < given[:, jet]
    return ak.unflatten(given[np.arange(size) < counts[:, None]], counts), 1 - none_left[:, 0]


def _flavour(jets: Any, heavy: Any, radius: float) -> Any:
    """Return 5 for jets with a b hadron within their radius, 4 for those with a c hadron alone, else 0."""
    ak = wheel("awkward")
    hard = heavy[transverse(heavy.px, heavy.py) >= HEAVY_PT_GEV]
    places = ak.zip(
        {
            "eta": pseudorapidity(hard.px, hard.py, hard.pz),
            "phi": azimuth(hard.px, hard.py),
            "flavour": hard.flavour,
        }
    )
    axes = ak.zip({"eta": jets.eta, "phi": jets.phi})
    jet, hadron = ak.unzip(ak.cartesian([axes, places], axis=1, nested=True))
    near = delta_r(jet.eta, jet.phi, hadron.eta, hadron.phi) < radius
    return ak.fill_none(ak.max(ak.where(near, hadron.flavour, 0), axis=-1, initial=0), 0)


def _hardest_first(objects: Any) -> Any:
    ak = wheel("awkward")
    return objects[ak.argsort(objects.pt, axis=1, ascending=False)]
