"""The endless source of electrons keeps the contract of the data room's streams."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from cres import schema
from cres.data.stream import ElectronSource, StreamDataset
from cres.errors import UserError
from cres.simulation import SimulatedElectrons, SimulationConfig, sample_electrons
from cres.simulation.source import stream_seed
from reconstruction.records.loader import Draw


@pytest.fixture(scope="module")
def source() -> SimulatedElectrons:
    return SimulatedElectrons()


def test_it_is_a_source_and_knows_its_read_out(source: SimulatedElectrons) -> None:
    assert isinstance(source, ElectronSource)
    readout = SimulationConfig.default().readout
    assert (source.sampling_rate_hz, source.samples) == (readout.sampling_rate_hz, readout.samples)


def test_an_electron_does_not_depend_on_how_it_is_asked_for(source: SimulatedElectrons) -> None:
    together, alone = source(3, 5, 4), pickle.loads(pickle.dumps(source))(3, 7, 1)
    for name, values in alone.items():
        np.testing.assert_array_equal(values[0], together[name][2], err_msg=name)


def test_a_stream_never_repeats_the_electrons_of_a_file(source: SimulatedElectrons) -> None:
    seeds = range(50)
    assert len({stream_seed(seed) for seed in seeds}) == 50
    streamed = source(1, 0, 3)[schema.ENERGY]
    for seed in seeds:
        assert not set(streamed) & set(sample_electrons(source.config, 3, seed).energy_ev)


def test_epochs_bring_fresh_electrons(source: SimulatedElectrons) -> None:
    dataset = StreamDataset(source, 8, 0, schema.DEFAULT_TARGETS, (schema.AXIAL_FREQUENCY,))
    first, second = (dataset.__getitems__([Draw(epoch, row) for row in range(2)]) for epoch in (0, 1))
    assert first["inputs"]["series"].shape == (2, 8192, 2)
    assert not (first["targets"] == second["targets"]).any()


class Numbered:
    """Electrons that say their number in the sequence; a source that is best asked for five at once."""

    sampling_rate_hz, lo_frequency_hz, samples = 1.0, 0.0, 3

    def __init__(self, electrons_at_once: int) -> None:
        self.electrons_at_once = electrons_at_once
        self.asked: list[tuple[int, int]] = []

    def __call__(self, seed: int, start: int, count: int) -> dict[str, Any]:
        self.asked.append((start, count))
        number = torch.arange(start, start + count)
        series = torch.stack([number.float()] * 3, 1)
        names = (*schema.DEFAULT_TARGETS, schema.EVENT_ID)
        return dict.fromkeys(schema.SERIES_COLUMNS, series) | dict.fromkeys(names, number)


def numbers_of(source: Numbered, *batches: list[tuple[int, int]]) -> list[list[int]]:
    dataset = StreamDataset(source, 12, 0, schema.DEFAULT_TARGETS, ())
    made = [dataset.__getitems__([Draw(epoch, row) for epoch, row in batch]) for batch in batches]
    for batch in made:
        ids = batch["event_id"]
        assert torch.equal(batch["inputs"]["series"], ids.float()[:, None, None].expand(-1, 3, 2))
        assert torch.equal(batch["targets"], ids.double()[:, None].expand(-1, 2))
    return [batch["event_id"].tolist() for batch in made]


BATCHES = [[(0, row) for row in rows] for rows in (range(4), range(4, 8), range(8, 12))] + [
    [(1, 0), (1, 1), (1, 9)],
    [(2, row) for row in range(11)],
]


def test_batches_are_cut_from_blocks_where_the_source_wants_it() -> None:
    alone, blocks = Numbered(1), Numbered(5)
    assert numbers_of(blocks, *BATCHES) == numbers_of(alone, *BATCHES)
    assert alone.asked[:3] == [(0, 4), (4, 4), (8, 4)]
    assert blocks.asked == [(0, 5), (5, 5), (10, 5), (20, 5), (25, 5), (30, 5)]


def test_a_block_does_not_change_with_where_a_training_begins() -> None:
    """So a resumed training sees the same bits, whatever a device makes of another number of electrons."""
    resumed = Numbered(5)
    assert numbers_of(resumed, [(0, 7), (0, 8)]) == [[7, 8]]
    assert resumed.asked == [(5, 5)]


def test_what_a_batch_holds_is_its_own() -> None:
    dataset = StreamDataset(Numbered(5), 12, 0, schema.DEFAULT_TARGETS, ())
    dataset.__getitems__([Draw(0, 0), Draw(0, 1)])["inputs"]["series"].fill_(9.0)
    assert dataset.__getitems__([Draw(0, 0)])["inputs"]["series"].max() == 0


@pytest.mark.parametrize("electrons_at_once", [1, 5])
def test_a_column_that_a_source_does_not_make_is_named(electrons_at_once: int) -> None:
    dataset = StreamDataset(Numbered(electrons_at_once), 12, 0, schema.DEFAULT_TARGETS, ("charge",))
    with pytest.raises(UserError, match="makes no column charge"):
        dataset.__getitems__([Draw(0, 0)])
