"""The endless source of electrons keeps the contract of the data room's streams."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cres import schema
from cres.data.stream import ElectronSource, StreamDataset
from cres.simulation import SimulatedElectrons, SimulationConfig, sample_electrons
from cres.simulation.source import stream_seed


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
    from reconstruction.records.loader import Draw

    dataset = StreamDataset(source, 8, 0, schema.DEFAULT_TARGETS, (schema.AXIAL_FREQUENCY,))
    first, second = (dataset.__getitems__([Draw(epoch, row) for row in range(2)]) for epoch in (0, 1))
    assert first["inputs"]["series"].shape == (2, 8192, 2)
    assert not (first["targets"] == second["targets"]).any()
