from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.estimation.apparatus import Apparatus
from cres.estimation.search.efficiency_map import EfficiencyMap, efficiency_map
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import SimulationConfig

RADII = [0.1e-3, 3.4e-3, 6.5e-3]
PITCH = [88.0, 89.8]
# near that of one false alarm in a thousand records
THRESHOLD = 18.0


@pytest.fixture(scope="module")
def loud() -> MatchedFilter:
    # at ten times the noise power, so that the coupling decides everywhere
    return MatchedFilter(Apparatus.from_config(SimulationConfig.default(), noise_scale=10.0))


@pytest.fixture(scope="module")
def found(loud: MatchedFilter) -> EfficiencyMap:
    return efficiency_map(loud.apparatus, loud, RADII, PITCH, threshold=THRESHOLD, electrons=8)


def test_the_efficiency_falls_where_the_coupling_does(found: EfficiencyMap) -> None:
    best = found.efficiency[1].mean()
    assert best > 0.8
    assert found.efficiency[0].mean() < 0.2
    assert found.efficiency[2].mean() < best
    # far from 90° the bounce takes the electron to the ends of the cavity, and power into the sidebands
    assert found.statistic[1, 0] < found.statistic[1, 1]


def test_without_the_coupling_it_does_not_fall(loud: MatchedFilter) -> None:
    class Uncoupled:
        """The forward model at the best radius, whatever the radius."""

        def __init__(self, model) -> None:  # type: ignore[no-untyped-def]
            self.model, self.time_s = model, model.time_s

        def __call__(self, parameters: torch.Tensor) -> torch.Tensor:
            return self.model(parameters.index_fill(1, torch.tensor([2]), 3.4e-3))

        def lines(self, parameters: torch.Tensor, names: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
            return self.model.lines(parameters, names)

        def jacobian(self, parameters: torch.Tensor):  # type: ignore[no-untyped-def]
            return self.model.jacobian(parameters)

    uncoupled = dataclasses.replace(loud.apparatus, model=Uncoupled(loud.apparatus.model))
    found = efficiency_map(uncoupled, loud, RADII, [89.0], threshold=THRESHOLD, electrons=8)
    assert found.efficiency.min() > 0.8


def test_the_map_is_written_as_numbers_and_picture(found: EfficiencyMap, tmp_path: Path) -> None:
    found.write(tmp_path / "efficiency.hdf5", SimulationConfig.default())
    assert found.draw(tmp_path / "efficiency.png").stat().st_size > 1000
    with h5py.File(tmp_path / "efficiency.hdf5") as file:
        np.testing.assert_array_equal(file["efficiency"][()], found.efficiency)
        assert file["radius_m"].attrs["units"] == "m"
        assert file.attrs["false_alarm_probability"] == 1e-3
