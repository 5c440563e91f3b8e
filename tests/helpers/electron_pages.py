"""Parts of pages of electrons, for tests: pictures of records, whole posteriors, a name that would break a page."""

from __future__ import annotations

import numpy as np

from cres import schema
from cres.evaluation import PredictionTable
from cres.evaluation.browser import RecordPictures

NASTY = "</script><img src=x onerror=alert(1)><!--<script>"


def pictures(event_id: np.ndarray, seed: int = 0) -> RecordPictures:
    """Return pictures of the default's size: 32 frames of 48 bins, 384 positions, attention, 8 sidebands."""
    random, count = np.random.default_rng(seed), len(event_id)
    return RecordPictures(
        event_id,
        random.exponential(size=(count, 32, 48)),
        6e-7,
        0.8e6,
        random.uniform(-80e6, -45e6, count),
        random.exponential(size=(count, 384)),
        49e3,
        random.dirichlet(np.full(384, 0.1), count),
        2e6 * np.arange(1, 9) + np.zeros((count, 1)),
    )


def with_posterior(table: PredictionTable) -> PredictionTable:
    """Return the table with a mixture of its error bars and ten times wider ones."""
    mean = np.stack([table.mean(t) for t in table.targets], axis=1)[:, None] + np.zeros((1, 2, 1))
    std = np.stack([table.std(t) for t in table.targets], axis=1)
    cholesky = np.zeros((len(table), 2, 2, 2))
    for component, width in enumerate((1.0, 10.0)):
        for target in range(2):
            cholesky[:, component, target, target] = width * std[:, target]
    weight = np.tile([0.9, 0.1], (len(table), 1))
    names = schema.POSTERIOR_COLUMNS[:3]
    return table.with_columns(dict(zip(names, (weight, mean, cholesky), strict=True)))
