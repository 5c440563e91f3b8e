"""What every reader asks a predictions table for: estimates, error bars, truth, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruction import schema
from reconstruction.errors import UserError, nearest
from reconstruction.system import DEFAULT, System, find_system

EVENT_ID = schema.EVENT_ID
COVARIANCE = "covariance"
CLASSES = "classes"
"""Attribute of a table whose one target is a class: the code of each by its name."""
SYSTEM = "system"
"""Attribute of a table: whose rows these are; a table without it is of `cres`."""
SIDEBAND_SNR = "sideband_snr"
ESTIMATE = "estimate"
BOUND = "bound"
Values = NDArray[Any]


def class_list(classes: Mapping[str, int]) -> list[list[str | int]]:
    """Return classes as the card of a model keeps them: pairs of name and code, in the order of the head."""
    return [[name, code] for name, code in classes.items()]


class JudgedColumns:
    """The columns of estimates by what they mean, (rows,) each where nothing else is said."""

    columns: dict[str, Values]
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return len(self.columns[EVENT_ID])

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the estimated quantities, in lower case."""
        return tuple(self.attributes["targets"])

    @property
    def estimator(self) -> str:
        """Display name."""
        return str(self.attributes["estimator"])

    @property
    def system(self) -> System:
        """Whose rows these are. Raises UserError for a system that is not there."""
        return find_system(str(self.attributes.get(SYSTEM, DEFAULT)))

    @property
    def is_bound(self) -> bool:
        """Whether the standard deviations are the Cramér–Rao bound and the estimates no estimates."""
        return bool(self.attributes["kind"] == BOUND)

    @property
    def event_id(self) -> NDArray[np.int64]:
        """Identities, (rows,)."""
        return self.columns[EVENT_ID]

    def column(self, name: str) -> Values:
        """Return a column by its name here or on disk; raises UserError with the nearest name."""
        lower = schema.prediction_name(name)
        if lower not in self.columns:
            raise UserError(
                f"the table of {self.estimator!r} has no column {lower!r}{nearest(lower, self.columns)}; "
                f"it has {', '.join(self.columns)}"
            )
        return self.columns[lower]

    def mean(self, target: str) -> Values:
        """Return the estimates of a target, (rows,)."""
        return self.column(target)

    def std(self, target: str) -> Values:
        """Return the stated standard deviations of a target, (rows,)."""
        return self.column(schema.std_name(target))

    def truth(self, target: str) -> Values:
        """Return the true values of a target, (rows,)."""
        return self.column(schema.truth_name(target))

    def interval95(self, target: str) -> tuple[Values, Values]:
        """Return the ends of the central 95.45 % of a target, (rows,) each; two error bars where it is not stated."""
        low, high = schema.interval95_names(target)
        if low in self.columns and high in self.columns:
            return self.column(low), self.column(high)
        return self.mean(target) - 2 * self.std(target), self.mean(target) + 2 * self.std(target)

    @property
    def classes(self) -> dict[str, int]:
        """The code of each class that the rows were told apart by; none where quantities are estimated."""
        stored = self.attributes.get(CLASSES, {})
        known: dict[str, int] = json.loads(stored) if isinstance(stored, str) else dict(stored)
        return known

    def probabilities(self) -> Values:
        """Return the stated probability of each class, (rows, class). Raises UserError where a column is missing."""
        return np.stack([self.column(schema.probability_name(name)) for name in self.classes], axis=1)

    def residual(self, target: str) -> Values:
        """Return estimate minus truth, (rows,)."""
        return self.mean(target) - self.truth(target)

    def has_std(self, target: str) -> bool:
        """Whether uncertainties of the target are in the table."""
        return schema.std_name(target) in self.columns

    def has_truth(self, target: str) -> bool:
        """Whether the truth of the target is in the table (not so for real data)."""
        return schema.truth_name(target) in self.columns
