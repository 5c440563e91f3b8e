"""What an estimator found, by target, before it is a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


@dataclass(frozen=True)
class Estimated:
    """Estimates by target (names on disk), with standard uncertainties, and columns of the estimator's own."""

    values: Mapping[str, Values]
    std: Mapping[str, Values]
    extra: Mapping[str, Values] = field(default_factory=dict)
    covariance: Values | None = None
    kind: Literal["estimate", "bound"] = "estimate"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of the table, beside those that every table has."""


def joined(parts: list[Estimated]) -> Estimated:
    """Return the estimates of consecutive blocks as one."""
    covariances = [part.covariance for part in parts if part.covariance is not None]
    return Estimated(
        _joined([part.values for part in parts]),
        _joined([part.std for part in parts]),
        _joined([part.extra for part in parts]),
        covariance=np.concatenate(covariances) if covariances else None,
        kind=parts[0].kind,
        attributes=parts[0].attributes,
    )


def _joined(parts: list[Mapping[str, Values]]) -> dict[str, Values]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
