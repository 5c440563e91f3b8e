"""What each measured coordinate costs: the first guess of a trained network with the true ones in their place.

    python benchmarks/landmark_errors.py RUN DATA BOUND         a run, its data, and a table of bounds of some of them

The landmark's map turns the line's place, the carrier and the strength into a first guess of the energy. Prints the
guess's σ68 over the Cramér–Rao bound, of resolved electrons whose line was found: as it is (with a comb, of what all
lines say together), of what was measured before that, and with the truth in place of one or two of these (that
of the noiseless record), which tells what a better measurement of it would gain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from cres import errors, schema
from cres.data.records import Records, open_records
from cres.evaluation.resolved import resolved_mask
from cres.transforms import FROZEN_EPOCH, KeyedRandom, WhiteNoise
from reconstruction.command import Parser
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.network.landmark import Landmark
from reconstruction.training.network.reconstructor import Reconstructor
from reconstruction.training.runs.loading import load_module

ROWS = 200
FOUND = 3.0
"""Positions: a line that was read farther from its place was missed."""
GUESSES = (
    "first guess",
    "as measured",
    "true place",
    "true carrier",
    "true strength",
    "true carrier and strength",
    "true place, carrier and strength",
)


@torch.no_grad()
def guesses(model: Reconstructor, records: Records, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the energies that are guessed (row, guess), and how far off the place is in positions."""
    landmark = model.landmark
    if not isinstance(landmark, Landmark):
        raise errors.UserError("the run has no landmark (model.landmark): nothing is guessed")
    clean = torch.from_numpy(records.read_series(rows))
    random = KeyedRandom(3, FROZEN_EPOCH, torch.from_numpy(records.event_ids[rows]))
    noisy = WhiteNoise(records.sampling_rate_hz, records.noise_density_w_per_hz)(clean, random)
    measured = model.standardised({"series": noisy}).measured
    assert measured is not None
    seen, true = (model.standardised_scalars(model.scalars({"series": one})).double() for one in (noisy, clean))
    column = np.asarray(records.scalar(landmark.options.column))[rows]
    exact = landmark.place_mhz(torch.from_numpy(column))
    place = measured.place_mhz
    carrier, strength = torch.tensor([True, False]), torch.tensor([False, True])
    cases = (
        (place, seen),
        (exact, seen),
        (place, torch.where(carrier, true, seen)),
        (place, torch.where(strength, true, seen)),
        (place, true),
        (exact, true),
    )
    scaler = model.target_scaler
    found = [measured.anchor.double(), *(landmark.map(torch.cat(case, dim=1)) for case in cases)]
    found = [standardised * scaler.scale + scaler.shift for standardised in found]
    off = (place - exact).squeeze(1) * 1e6 / measured.step_hz
    return torch.stack([one[:, 0] for one in found], dim=1), off


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("bound", type=Path)
    arguments = parser.parse_args()
    module = load_module(arguments.run / "checkpoints" / "best.ckpt").eval()
    records, bound = open_records(arguments.data), PredictionTable.read(arguments.bound)
    number = {event: row for row, event in enumerate(records.event_ids)}
    rows = np.array([number[event] for event in bound.event_id])
    order = np.argsort(rows)
    rows, bound_ev = rows[order], bound.columns["energy_std_ev"][order]
    parts = [guesses(module.reconstructor, records, part) for part in np.split(rows, range(ROWS, len(rows), ROWS))]
    energy, off = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    resolved = resolved_mask(records.scalar("sideband_snr")[rows])
    kept = resolved & (np.abs(off) < FOUND)
    residual = energy[kept] - records.scalar(schema.ENERGY)[rows][kept][:, None]
    print(f"{kept.sum()} of {resolved.sum()} resolved electrons; place: σ68 {sigma68(off[kept]):.3f} positions")
    for name, column in zip(GUESSES, residual.T, strict=True):
        print(f"{name}: σ68 {sigma68(column):.4f} eV, {sigma68(column / bound_ev[kept]):.3f} of the bound")


if __name__ == "__main__":
    errors.run(main)
