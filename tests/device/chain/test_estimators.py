"""The forward model and every estimator on a device, against the processor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres import schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import bound_of, freedom
from cres.estimation.fit import least_squares
from cres.estimation.fit.least_squares import RadialStrength
from cres.estimation.fit.likelihood import LikelihoodEstimator
from cres.estimation.fit.products import LineProducts, SampleProducts
from cres.estimation.fit.seeded import Seed, SeededEstimator
from cres.estimation.methods.registry import run
from cres.estimation.methods.task import Task
from cres.estimation.noise import Coloured
from cres.estimation.radial.posterior import RadialEstimator
from cres.estimation.search import building, matched_filter
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import ForwardModel, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import parameters_of

pytestmark = pytest.mark.gpu

CAVITY = SimulationConfig.from_dict({"readout": {"samples": 2048}})
CHIRPED = dataclasses.replace(CAVITY, loss=dataclasses.replace(CAVITY.loss, factor=300.0))
"""Its lines rise by bins, as those of long records do."""
COILS = SimulationConfig.from_dict(
    {"trap": {"kind": "coils", "field_t": 0.9587, "coils": [[0.02, -0.08, 42.0], [0.02, 0.08, 42.0]]}}
    | {"cavity": {"length_m": 0.16}, "readout": {"samples": 2048}}
)
ELECTRONS = 4
CPU = torch.device("cpu")


def electrons(config: SimulationConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters and noisy records."""
    drawn = sample_electrons(config, ELECTRONS, 5)
    parameters = parameters_of(drawn)
    clean = ForwardModel(config)(parameters)
    std = Apparatus.from_config(config).noise_std_volt
    noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * std
    return parameters, clean + torch.view_as_complex(noise)


def close(there: torch.Tensor, here: torch.Tensor, tolerance: float = 1e-9) -> None:
    assert torch.isfinite(here.abs()).any()
    scale = here.abs().nan_to_num(0, 0, 0).max().item() or 1.0
    torch.testing.assert_close(there.cpu(), here, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


@pytest.fixture
def derivatives(kind: str) -> None:
    """For what differentiates the forward model: vmap over jvp, which the pretended device does not follow."""
    if kind == "pretend":
        pytest.skip("the pretended device does not follow vmap over forward derivatives: a real one has to")


@pytest.fixture
def few_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer templates go the same way."""
    monkeypatch.setattr(matched_filter, "coarse_bank", lambda bank: building.coarse_bank(bank, 6))
    monkeypatch.setattr(building, "FINE_STEPS_PER_BIN", 2)


@pytest.mark.parametrize("config", [CAVITY, COILS], ids=["cavity", "coils"])
def test_the_forward_model(device: torch.device, kind: str, config: SimulationConfig) -> None:
    if config is COILS and kind == "pretend":
        pytest.skip("integrating the motion between coils takes the pretended device minutes")
    parameters, _ = electrons(config)
    parameters = parameters[:2]
    here, there = ForwardModel(config), ForwardModel(config).to(device)
    put = parameters.to(device)
    close(there(put), here(parameters))
    for found, expected in zip(there.lines(put), here.lines(parameters), strict=True):
        if expected.numel():
            close(found, expected, 1e-6)
    if kind == "pretend":
        return
    for found, expected in zip(there.jacobian(put), here.jacobian(parameters), strict=True):
        close(found, expected)
    for found, expected in zip(there.lines(put, ["energy_ev"]), here.lines(parameters, ["energy_ev"]), strict=True):
        close(found, expected, 1e-6)


@pytest.mark.usefixtures("derivatives")
@pytest.mark.parametrize("config", [CAVITY, COILS], ids=["cavity", "coils"])
def test_the_bound(device: torch.device, config: SimulationConfig) -> None:
    parameters, _ = electrons(config)
    parameters = parameters[:2]
    for bound, also in (("tied", ()), *([("tied", ("start-time", "slope"))] if config is CAVITY else [])):
        free = freedom(config, bound, also)
        here, there = (
            bound_of(Apparatus.from_config(config, 1.0, place), free, parameters.to(place)) for place in (CPU, device)
        )
        close(there.std, here.std, 1e-4)


def test_inner_products(device: torch.device, kind: str) -> None:
    parameters, data = electrons(CAVITY)
    names = ("energy_ev", "pitch_angle_deg", "start_phase_rad", "axial_phase_rad", "amplitude")
    rows = torch.arange(ELECTRONS)
    found = []
    for place in (CPU, device):
        apparatus = Apparatus.from_config(CAVITY, 1.0, place)
        std = torch.full((2048,), apparatus.noise_std_volt, dtype=torch.float64)
        makers = [
            LineProducts(apparatus.model, data.to(place), apparatus.noise_std_volt, names),
            SampleProducts(apparatus.model, data.to(place), Coloured(std).to(place), names),
        ][: 1 if kind == "pretend" else 2]
        found.append([products for maker in makers for products in maker(rows.to(place), parameters.to(place))])
        found[-1] += [maker.residual_spectrum(parameters.to(place)) for maker in makers]
    for here, there in zip(*found, strict=True):
        close(there, here, 1e-4)


def test_strength_against_radius(device: torch.device) -> None:
    parameters, _ = electrons(CAVITY)
    change = torch.linspace(-0.3, 0.3, ELECTRONS, dtype=torch.float64)
    found = []
    for place in (CPU, device):
        strength = RadialStrength.measure(Apparatus.from_config(CAVITY, 1.0, place))
        moved = strength.moved(parameters.to(place), change.to(place))
        found.append([moved, strength.directions(parameters.to(place))])
    for here, there in zip(*found, strict=True):
        close(there, here)


@pytest.mark.usefixtures("few_templates")
@pytest.mark.parametrize(("coloured", "config"), [(False, CAVITY), (True, CAVITY), (False, CHIRPED)])
def test_likelihood_and_seeded_likelihood(
    device: torch.device, kind: str, coloured: bool, config: SimulationConfig
) -> None:
    if coloured and kind == "pretend":
        pytest.skip("the pretended device does not follow vmap over forward derivatives: a real one has to")
    parameters, data = electrons(config)
    values = parameters.numpy()
    ones = np.ones(ELECTRONS)
    seed = Seed(values[:, 0] + 0.2, 0.3 * ones, 2 * ones, values[:, 1], 0.01 * ones, 0.05 * ones)
    found = []
    for place in (CPU, device):
        apparatus = Apparatus.from_config(config, 1.0, place)
        std = torch.full((2048,), apparatus.noise_std_volt, dtype=torch.float64)
        estimator = LikelihoodEstimator(MatchedFilter(apparatus, Coloured(std) if coloured else None))
        whole, (near, fell_back) = (
            estimator.estimate(data.to(place)),
            SeededEstimator(estimator).estimate(data.to(place), seed),
        )
        found.append(
            [one for fits in (whole, near) for one in (fits.parameters[:, :2], fits.chi_square, fits.goodness)]
        )
        found[-1].append(fell_back.double() + 1)
    for here, there in zip(*found, strict=True):
        close(there, here, 1e-4)


@pytest.mark.usefixtures("few_templates")
def test_the_posterior_over_the_radius(device: torch.device, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind != "cuda":
        pytest.skip("the posterior between coils takes a processor minutes")
    monkeypatch.setattr("cres.estimation.radial.grid.AXIAL_STEP_BINS", 0.5)
    monkeypatch.setattr("cres.estimation.radial.grid.LARGEST_PITCH_STEP_DEG", 0.1)
    _, data = electrons(COILS)
    data = data[:2]
    found = []
    for place in (CPU, device):
        estimator = RadialEstimator(MatchedFilter(Apparatus.from_config(COILS, 1.0, place)))
        said = estimator.estimate(data.to(place))
        found.append([said.energy_ev[0].centre, said.pitch_angle_deg[1].low, said.weight, said.goodness])
    for here, there in zip(*found, strict=True):
        close(there, here, 1e-4)


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = dataclasses.replace(CAVITY)
    columns = simulate_columns(config, sample_electrons(config, 150, seed=17))
    path = tmp_path_factory.mktemp("data") / "cres.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        file.attrs["sampling_rate_hz"] = config.readout.sampling_rate_hz
        file.attrs["lo_frequency_hz"] = config.readout.lo_frequency_hz
    return path


@pytest.mark.usefixtures("few_templates")
@pytest.mark.parametrize("method", ["carrier", "peaks", "matched-filter", "likelihood", "bound"])
def test_every_method_by_its_name(
    device: torch.device, kind: str, data_file: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MatchedFilter, "threshold", lambda *_: 12.0)
    for module in ("peak_estimator", "local_spread"):
        monkeypatch.setattr(f"cres.estimation.simple.{module}.FEWEST_PER_BIN", 1)
    if method == "bound" and kind == "pretend":
        pytest.skip("the pretended device does not follow vmap over forward derivatives: a real one has to")
    task = Task(str(data_file), method, limit=4, training_electrons=64)
    tables = [run(dataclasses.replace(task, device=str(place)), CAVITY) for place in (CPU, device)]
    here, there = (table.mean(schema.ENERGY) for table in tables)
    np.testing.assert_allclose(there, here, rtol=1e-7)
    assert tables[1].attributes["seconds_per_electron"] > 0


class _OnTheProcessor:
    """Stands for torch in a module: `eye` forgets the device, as it was."""

    def __getattr__(self, name: str) -> object:
        if name == "eye":
            return lambda *shape, device=None, **options: torch.eye(*shape, **options)
        return getattr(torch, name)


@pytest.mark.usefixtures("few_templates")
def test_the_fault_of_the_estimators_is_found(device: torch.device, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "cpu":
        pytest.skip("on the processor there is no second device")
    _, data = electrons(CAVITY)
    estimator = LikelihoodEstimator(MatchedFilter(Apparatus.from_config(CAVITY, 1.0, device)))
    monkeypatch.setattr(least_squares, "torch", _OnTheProcessor())
    with pytest.raises(RuntimeError, match=r"of the processor|same device"):
        estimator.estimate(data.to(device))
