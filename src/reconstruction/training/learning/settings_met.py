"""Which settings a model has met: kept in its card and in its tables of predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MOST_TRAINED = 500
"""So many different apparatus are listed; of more (settings drawn at random) only the range is kept."""


def described_settings(names: Sequence[str], values: Tensor, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a card says of the settings (rows, setting) of training rows, with those that a model met before.

    names, low and high of each, and `trained`: the different ones, a list each; unknown ones (NaN) are left out.
    """
    known = np.unique(values[~values.isnan().any(dim=1)].numpy(), axis=0).tolist()
    columns = [column[~column.isnan()] for column in values.unbind(dim=1)]
    low = [float(column.min()) if len(column) else math.inf for column in columns]
    high = [float(column.max()) if len(column) else -math.inf for column in columns]
    if before is not None and list(before["names"]) == list(names):
        low = [min(pair) for pair in zip(low, before["low"], strict=True)]
        high = [max(pair) for pair in zip(high, before["high"], strict=True)]
        # none listed: there were too many, and there still are
        known = known + [one for one in before["trained"] if one not in known] if before["trained"] else []
    return {"names": list(names), "low": low, "high": high, "trained": known if len(known) <= MOST_TRAINED else []}


def outside_settings(columns: Mapping[str, NDArray[Any]], met: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which rows have a setting outside of what a model has met, (rows,); one that is unknown is not outside."""
    names = met["names"]
    outside = np.zeros(len(columns[names[0]]), bool)
    for name, low, high in zip(names, met["low"], met["high"], strict=True):
        slack = 1e-6 * max(abs(low), abs(high))  # float32 in a file is no other setting
        outside |= (columns[name] < low - slack) | (columns[name] > high + slack)
    return outside
