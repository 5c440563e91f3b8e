"""Boosted trees on high-level quantities: what a network has to beat.

One classifier is told the masses beside the quantities, as the network is, and the mass of the muon pair over that of
A, with which the network compares masses of pairs; dedicated ones see one mass point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from collider.higgs.judging.scores import Array, Rows
from collider.higgs.learning.files import CLASSES, RELATIVE, SIGNAL, EventFiles
from collider.higgs.learning.views import CHANNELS
from collider.higgs.making.config import Point
from collider.higgs.making.samples import MASSES
from collider.higgs.quantities import QUANTITIES, high_level_quantities
from reconstruction.errors import UserError

TIMES: Final = 4
"""So often each background is told masses: as many trees' rows as keep the masses from giving the class away."""
STEPS: Final = 100
_AT_ONCE: Final = 20_000
_PAIR_MASS: Final = QUANTITIES.index("muon_pair_mass_gev")
_NONE: Final = -1.0
"""In place of a quantity that an event does not have."""


def quantities_of(files: EventFiles) -> Array:
    """Return the high-level quantities of all events (event, quantity), −1 where an event does not have one."""
    parts = []
    for first in range(0, len(files), _AT_ONCE):
        rows = np.arange(first, min(first + _AT_ONCE, len(files)))
        objects = files.objects(rows)[:, 1:]
        columns = {name: objects[..., place] for place, name in enumerate(CHANNELS)}
        missing = {name: files.scalar(name)[rows] for name in ("missing_pt_gev", "missing_phi_rad")}
        made = high_level_quantities(columns | missing)
        parts.append(np.stack(list(made.values()), axis=1))
    return np.nan_to_num(np.concatenate(parts), nan=_NONE)


@dataclass(frozen=True, eq=False)
class Trees:
    """Fitted trees: one for all masses, and one for each of some points."""

    quantities: Array
    """(event, quantity) of all events of the table."""
    joint: Any
    dedicated: dict[Point, Any]

    @classmethod
    def fit(cls, files: EventFiles, rows: Rows, alone: Mapping[Point, Rows]) -> Trees:
        """Fit on the rows that networks were trained on: one for all masses, and by point those of dedicated ones.

        Raises UserError where scikit-learn or a class is missing.
        """
        quantities = quantities_of(files)
        kinds, weights = (np.asarray(files.scalar(name)) for name in ("class", RELATIVE))
        signal, background = rows[kinds[rows] == SIGNAL], rows[kinds[rows] != SIGNAL]
        own = np.column_stack([files.scalar(name)[signal] for name in MASSES])
        told = np.concatenate([own, _drawn(own, TIMES * len(background))])
        chosen = np.concatenate([signal, np.tile(background, TIMES)])
        joint = _fitted(_beside(quantities[chosen], told), kinds[chosen], weights[chosen])
        dedicated = {point: _fitted(quantities[mine], kinds[mine], weights[mine]) for point, mine in alone.items()}
        return cls(quantities, joint, dedicated)

    def probabilities(self, rows: Rows, point: Point, dedicated: bool = False) -> Array:
        """Return the probability of each class (event, class) of events told some masses, or by those of one point."""
        if dedicated:
            said = self.dedicated[point].predict_proba(self.quantities[rows])
        else:
            told = np.tile(np.array(point, np.float64), (len(rows), 1))
            said = self.joint.predict_proba(_beside(self.quantities[rows], told))
        return np.asarray(said, np.float64)


def _beside(quantities: Array, told: Array) -> Array:
    """Return quantities beside the masses (event, 2) that are told, and the muon pair's over that of A."""
    ratio = quantities[:, _PAIR_MASS] / told[:, MASSES.index("mass_a_gev")]
    return np.column_stack([quantities, told, ratio])


def _drawn(own: Array, count: int) -> Array:
    """Return masses (count, 2) as often as signals (event, 2) have them, which give no class away."""
    return own[np.random.default_rng(0).integers(len(own), size=count)]


def _fitted(features: Array, kinds: Any, weights: Array) -> Any:
    """Return trees in which every class counts the same, its events by their weights.

    Raises UserError where scikit-learn or a class is missing.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise UserError(
            f"boosted trees need scikit-learn, which cannot be imported ({error}): pip install 'cres[collider]', or "
            "leave them out with --no-trees"
        ) from error
    counts = np.bincount(kinds, minlength=len(CLASSES))
    if (counts == 0).any():
        missing = list(CLASSES)[int(np.flatnonzero(counts == 0)[0])]
        raise UserError(f"there is no event of the class {missing} to fit boosted trees with: make more, or --no-trees")
    trees = HistGradientBoostingClassifier(
        max_iter=STEPS,
        learning_rate=0.08,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    of_class = np.bincount(kinds, weights, minlength=len(CLASSES))
    return trees.fit(features, kinds, sample_weight=weights * (len(kinds) / of_class)[kinds])
