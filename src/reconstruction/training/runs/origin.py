"""What a table of predictions says about its records: which split, known to the training or not, which apparatus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.apparatus import APPARATUS, WARNING
from reconstruction.judging.tables.columns import SYSTEM
from reconstruction.judging.tables.settings import OUTSIDE_SETTINGS
from reconstruction.judging.tables.splits import LEARNED, described_split, look_up
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.records.batch import SETTINGS, Inputs
from reconstruction.records.rows import STATED, RowsDataModule
from reconstruction.system import System
from reconstruction.training.learning.rows_met import split_codes
from reconstruction.training.learning.settings_met import outside_settings

SIGNATURE = "signature"
"""Key of a card: what the noisy records of the training look like."""

MEASURED_ROWS = 512
"""Rows at most that are measured."""
_SAME = 1e-9


@dataclass(frozen=True)
class Origin:
    """The records that are reconstructed.

    event_id, split: of every row of the records, the code of the part of the model's own data that it was in.
    config: of the simulation, where the files carry it. `signature` and `warning` are known once records were read;
    the warning is empty where they look like those of the training, None where the checkpoint cannot tell.
    """

    event_id: NDArray[np.int64]
    split: NDArray[np.int64]
    files: tuple[str, ...]
    checkpoints: tuple[str, ...]
    config: Mapping[str, Any]
    system: System
    signature: Mapping[str, Any] | None = None
    warning: str | None = None

    @classmethod
    def of(cls, card: Mapping[str, Any], data: RowsDataModule, checkpoints: Sequence[Path] = ()) -> Origin:
        """Look all rows of the data up in a model's card."""
        records = data.records
        files = tuple(str(file.path) for file in records.files)
        paths = tuple(str(path) for path in checkpoints)
        return cls(records.event_ids, split_codes(card, data), files, paths, data.source_config(), data.system)

    def announce(self, rows: NDArray[np.int64], which: str) -> str:
        """Say what is read: files, number of rows, of which part, and how many the model was trained on."""
        files = self.files[0] + (f" and {len(self.files) - 1} more files" if len(self.files) > 1 else "")
        codes = self.split[rows]
        trained = int(np.sum(codes == schema.SPLITS["train"]))
        if (codes == schema.SPLITS["unknown"]).any():
            met = "the checkpoint does not say how many of them it was trained on"
        else:
            met = f"{trained or 'none'} of them trained on"
        return f"reading {files}: {self.system.count(len(rows))}, {which} ({described_split(codes)}), {met}"

    def stamp(self, table: PredictionTable, event_id: NDArray[np.int64] | None = None) -> PredictionTable:
        """Return the table with split, checkpoint and apparatus; `event_id` are its rows, if not its rows."""
        rows = table.event_id if event_id is None else event_id
        attributes: dict[str, Any] = {SYSTEM: self.system.name, LEARNED: True, "records": json.dumps(self.files)}
        attributes["checkpoint"] = " ".join(self.checkpoints)
        if self.signature is not None:
            attributes[APPARATUS] = json.dumps(self.signature)
        if self.warning is not None:
            attributes[WARNING] = self.warning
        codes = look_up(rows, self.event_id, self.split)
        return table.with_columns({schema.SPLIT: codes}).with_attributes(attributes)


def rows_of(inputs: Inputs) -> int:
    """Return the number of rows of inputs."""
    return len(next(iter(inputs.values())))


def together(parts: Sequence[Inputs]) -> dict[str, Tensor]:
    """Return the inputs of several batches as one."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def sample(rows: NDArray[np.int64], most: int = MEASURED_ROWS) -> NDArray[np.int64]:
    """Return at most so many of the rows, evenly among them."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def require_same_readout(system: System, card: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise UserError where a fact that makes a model wrong (sampling rate …) is another one than the training's."""
    trained = card.get("data", {})
    for key, (plain, unit) in system.must_agree.items():
        if key in trained and key in facts and not np.isclose(trained[key], facts[key], rtol=1e-9):
            here, there = (f"{value:.10g} {unit}".rstrip() for value in (facts[key], trained[key]))
            raise UserError(
                f"the records' {plain} is {here}, but the model was trained at {there}: its estimates would be wrong; "
                "use a model trained for this read-out"
            )


def compare_apparatus(
    system: System, card: Mapping[str, Any], found: Mapping[str, Any] | None, any_length: bool = False
) -> str | None:
    """Warn, once, where records look otherwise than those of the training; returns the sentence, "" for none.

    With `any_length`, for records that are read in pieces, their length is no difference.

    None for a checkpoint of an earlier version, which does not say what its records looked like: that is said too.
    """
    if system.apparatus is None or found is None:
        return ""
    if SIGNATURE not in card:
        rank_zero_warn(
            "this checkpoint is of an earlier version and does not say what its records looked like: whether these are "
            "of the same apparatus is not checked",
        )
        return None
    known: Mapping[str, Any] = card[SIGNATURE]
    differences = system.apparatus.differences(found, known, any_length)
    if not differences:
        return ""
    sentence = (
        f"the records are not like those that the model was trained on: {'; '.join(differences)}; expect a bias and "
        f"wrong error bars: {system.apparatus.advice(found, known, any_length)}"
    )
    rank_zero_warn(sentence, category=UserWarning)
    return sentence


def compare_settings(card: Mapping[str, Any], system: System, told: NDArray[np.float64]) -> str:
    """Warn, once, of settings (rows, setting) outside of those that the model has met, and of those that nobody knows.

    Returns the sentences, "" for none.
    """
    met = card[SETTINGS]
    columns = dict(zip(met["names"], told.T, strict=True))
    sentence = " ".join(filter(None, (_outside(columns, met, system), _unknown(columns, system))))
    if sentence:
        rank_zero_warn(sentence, category=UserWarning)
    return sentence


def _outside(columns: Mapping[str, NDArray[np.float64]], met: Mapping[str, Any], system: System) -> str:
    """Return the sentence about rows outside of the trained range."""
    rows = outside_settings(columns, met)
    if not rows.any():
        return ""
    told = [
        f"{name} is {np.nanmin(columns[name]):g} to {np.nanmax(columns[name]):g}, {low:g} to {high:g} in the training"
        for name, low, high in zip(met["names"], met["low"], met["high"], strict=True)
        if outside_settings({name: columns[name]}, {"names": [name], "low": [low], "high": [high]}).any()
    ]
    return (
        f"{int(rows.sum())} of {system.count(len(rows))} have settings outside of those of the training "
        f"({'; '.join(told)}): their error bars are widened, and the table flags them as {OUTSIDE_SETTINGS}"
    )


def _unknown(columns: Mapping[str, NDArray[np.float64]], system: System) -> str:
    """Return the sentence about settings that are not known."""
    missing = {name: int(np.isnan(values).sum()) for name, values in columns.items()}
    names = [name for name, count in missing.items() if count]
    if not names:
        return ""
    most, rows = max(missing.values()), len(next(iter(columns.values())))
    return (
        f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} not known for {most} of {system.count(rows)}: the "
        "model answers there as it learned to without, with its error bars for that"
    )


def compare_stated(card: Mapping[str, Any], system: System, facts: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Warn, once, of what files state of their apparatus otherwise than those of the training, and no setting tells.

    `STATED` of the facts of the data: lowest and highest value by name. Returns the sentence, "" for none.
    """
    known: Mapping[str, Sequence[float]] = card.get("data", {}).get(STATED, {})
    differing = [
        f"{name} is {_range(low, high)}, {_range(*known[name])} in the training"
        for name, (low, high) in facts.get(STATED, {}).items()
        if name in known and name not in settings and not _within(low, high, *known[name])
    ]
    if not differing:
        return ""
    sentence = (
        f"the {system.nouns} are of an apparatus that differs from those of the training in what the model is not told "
        f"({'; '.join(differing)}): expect a bias and wrong error bars; train on such data, and tell the model"
    )
    rank_zero_warn(sentence, category=UserWarning)
    return sentence


def _within(low: float, high: float, lowest: float, highest: float) -> bool:
    slack = _SAME * max(abs(lowest), abs(highest))
    return low >= lowest - slack and high <= highest + slack


def _range(low: float, high: float) -> str:
    return f"{low:.10g}" if low == high else f"{low:.10g} to {high:.10g}"


def check_split(codes: NDArray[np.int64], system: System) -> None:
    """Warn where rows of a test split were trained on, or may have been."""
    trained = int(np.sum(codes == schema.SPLITS["train"]))
    if not trained and not (codes == schema.SPLITS["unknown"]).any():
        return
    how = (
        f"{trained} of its {system.count(len(codes))} were trained on"
        if trained
        else f"{system.nouns} of the training may be"
    )
    rank_zero_warn(
        f"this test split is not the one that the training kept aside: {how}{'' if trained else ' in it'}, and the "
        f"score is too good; use the run's own config.yaml and data, or `predict` for new {system.nouns}",
    )
