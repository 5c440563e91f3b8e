"""Which rows a model has met: kept in its checkpoint by their content, looked up in any records later.

The content of a record (the hash of its volts) names a row in whatever file it comes again; numbers of events
would not, since every simulation begins them anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconstruction import schema
from reconstruction.records.rows import RowsDataModule

ELECTRONS = "electrons"
"""Key of a card: {"train", "validation", "test"} → sorted content hashes, int64."""
PARTS = ("train", "validation", "test")


def electrons_of(data: RowsDataModule) -> dict[str, Tensor]:
    """Return the content of the rows of each part of the data, for a card."""
    content = data.records.content_hashes()
    return {part: torch.from_numpy(np.unique(content[getattr(data.split, part)])) for part in PARTS}


def together(cards: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | None:
    """Return the rows that any of several models met, None where one of them does not say.

    A row of one model's training is no test of all of them: the parts go before each other in their order.
    """
    if not all(ELECTRONS in card for card in cards):
        return None
    return {part: torch.cat([card[ELECTRONS][part] for card in cards]).unique() for part in PARTS}


def also_trained_on(card: dict[str, Any], parent: Mapping[str, Any]) -> None:
    """Add to a card the rows that the model was trained on whose weights it begins with."""
    if card.get(ELECTRONS) is not None and parent.get(ELECTRONS) is not None:
        own = card[ELECTRONS]
        card[ELECTRONS] = own | {"train": torch.cat([own["train"], parent[ELECTRONS]["train"]]).unique()}


def split_codes(card: Mapping[str, Any], data: RowsDataModule) -> NDArray[np.int64]:
    """Return for every row of the records the part of the model's own data that it was in, a code of SPLITS, (rows,).

    A checkpoint of an earlier version knows its rows only where the data are split as they were.
    """
    if card.get(ELECTRONS) is not None:
        return codes_of_content(card, data.records.content_hashes())
    codes = np.full(len(data.records), schema.SPLITS["new"], np.int64)
    trained, now = card.get("data", {}).get("split", {}), data.file_facts()["split"]
    if not trained or any(trained.get(key) != now[key] for key in ("train_events", "test_events")):
        return np.full(len(data.records), schema.SPLITS["unknown"], np.int64)
    for part in PARTS:
        codes[getattr(data.split, part)] = schema.SPLITS[part]
    return codes


def codes_of_content(card: Mapping[str, Any], content: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same for rows of this content, (rows,); "unknown" for a checkpoint that does not say what it met."""
    if card.get(ELECTRONS) is None:
        return np.full(len(content), schema.SPLITS["unknown"], np.int64)
    codes = np.full(len(content), schema.SPLITS["new"], np.int64)
    for part in reversed(PARTS):
        codes[np.isin(content, card[ELECTRONS][part].numpy())] = schema.SPLITS[part]
    return codes
