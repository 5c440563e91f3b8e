"""What a table of predictions says about its records: which split, known to the training or not, which apparatus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.evaluation.signature import APPARATUS, RECORDS, WARNING, Signature
from cres.evaluation.splits import LEARNED, described_split, look_up
from cres.training.electrons import split_codes

SIGNATURE = "signature"
"""Key of a card: what the noisy records of the training look like."""

_MUST_AGREE = {"sampling_rate_hz": "sampling rate", "lo_frequency_hz": "local oscillator"}


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
    signature: Signature | None = None
    warning: str | None = None

    @classmethod
    def of(cls, card: Mapping[str, Any], data: CresDataModule, checkpoints: Sequence[Path] = ()) -> Origin:
        """Look all electrons of the data up in a model's card."""
        records = data.records
        files = tuple(str(file.path) for file in records.files)
        paths = tuple(str(path) for path in checkpoints)
        return cls(records.event_ids, split_codes(card, data), files, paths, data.source_config())

    def announce(self, rows: NDArray[np.int64], which: str) -> str:
        """Say what is read: files, number of electrons, of which part, and how many the model was trained on."""
        files = self.files[0] + (f" and {len(self.files) - 1} more files" if len(self.files) > 1 else "")
        codes = self.split[rows]
        trained = int(np.sum(codes == schema.SPLITS["train"]))
        if (codes == schema.SPLITS["unknown"]).any():
            met = "the checkpoint does not say how many of them it was trained on"
        else:
            met = f"{trained or 'none'} of them trained on"
        return f"reading {files}: {len(rows)} electrons, {which} ({described_split(codes)}), {met}"

    def stamp(self, table: PredictionTable, event_id: NDArray[np.int64] | None = None) -> PredictionTable:
        """Return the table with split, checkpoint and apparatus; `event_id` are its electrons, if not its rows."""
        electrons = table.event_id if event_id is None else event_id
        attributes: dict[str, Any] = {LEARNED: True, "records": json.dumps(self.files)}
        attributes["checkpoint"] = " ".join(self.checkpoints)
        if self.signature is not None:
            attributes[APPARATUS] = json.dumps(self.signature.to_dict())
        if self.warning is not None:
            attributes[WARNING] = self.warning
        codes = look_up(electrons, self.event_id, self.split)
        return table.with_columns({schema.SPLIT: codes}).with_attributes(attributes)


def measured(noisy: Tensor, data: CresDataModule, rows: NDArray[np.int64]) -> Signature:
    """Return what noisy records (batch, time, 2) look like, with the axial frequencies of all these rows."""
    facts, records = data.file_facts(), data.records
    axial = records.scalar(schema.AXIAL_FREQUENCY)[rows] if schema.AXIAL_FREQUENCY in records.scalar_columns else None
    volts = noisy[:RECORDS].detach().float().cpu().numpy()
    return Signature.measure(volts, facts["sampling_rate_hz"], facts["lo_frequency_hz"], axial)


def sample(rows: NDArray[np.int64], most: int = RECORDS) -> NDArray[np.int64]:
    """Return at most so many of the rows, evenly among them."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def require_same_readout(card: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise UserError where the records' rate or oscillator is another one than the training's."""
    trained = card.get("data", {})
    for key, plain in _MUST_AGREE.items():
        if key in trained and not np.isclose(trained[key], facts[key], rtol=1e-9):
            raise UserError(
                f"the records' {plain} is {facts[key]:.10g} Hz, but the model was trained at {trained[key]:.10g} Hz: "
                "its estimates would be wrong; use a model trained for this read-out"
            )


def compare_apparatus(card: Mapping[str, Any], found: Signature, any_length: bool = False) -> str | None:
    """Warn, once, where records look otherwise than those of the training; returns the sentence, "" for none.

    With `any_length`, for records that are read in pieces, their length is no difference.

    None for a checkpoint of an earlier version, which does not say what its records looked like: that is said too.
    """
    if SIGNATURE not in card:
        rank_zero_warn(
            "this checkpoint is of an earlier version and does not say what its records looked like: whether these are "
            "of the same apparatus is not checked",
        )
        return None
    known = Signature.from_dict(card[SIGNATURE])
    differences = found.differences(known, any_length=any_length)
    if not differences:
        return ""
    longer = "" if any_length or found.samples == known.samples else ", or cut them with data.window_samples"
    sentence = (
        f"the records are not like those that the model was trained on: {'; '.join(differences)}; expect a bias and "
        f"wrong error bars: use a model of this apparatus{longer}, and check the unit (volts) and --noise_scale (0 for "
        "records that carry their noise)"
    )
    rank_zero_warn(sentence, category=UserWarning)
    return sentence


def check_split(codes: NDArray[np.int64]) -> None:
    """Warn where electrons of a test split were trained on, or may have been."""
    trained = int(np.sum(codes == schema.SPLITS["train"]))
    if not trained and not (codes == schema.SPLITS["unknown"]).any():
        return
    how = f"{trained} of its {len(codes)} electrons were trained on" if trained else "electrons of the training may be"
    rank_zero_warn(
        f"this test split is not the one that the training kept aside: {how}{'' if trained else ' in it'}, and the "
        "score is too good; use the run's own config.yaml and data, or `predict` for new electrons",
    )
