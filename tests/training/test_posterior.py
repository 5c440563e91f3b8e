"""The way of docs/howto/posterior.md at small size: a flow is trained, tabled, goes on, and is weighed."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cres.commands import posterior as command
from cres.commands.data_prep import main as prepare
from cres.commands.simulate import main as simulate
from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.weighing.line_table import LineTable
from cres.evaluation import PredictionTable
from cres.evaluation.weighted import VALUES, WeightedSamples
from cres.simulation import SimulationConfig
from cres.training.export import export
from cres.training.proposal import FlowProposal
from reconstruction.judging.measures.comparison import compare
from reconstruction.models import DrawnDistribution, MixtureHead
from reconstruction.training.command_line.cli import main
from reconstruction.training.runs.loading import load_module

CONFIGS = Path(__file__).parents[2] / "configs"
NARROW = [f"--model.encoders.spectrum.init_args.{option}" for option in ("width=8", "depth=1", "state=4")]
FLOW = [f"--model.head.init_args.{option}" for option in ("draws=32", "components=2", "spline_width=8", "bins=4")]
QUICK = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--figures.every_epochs=0"]
APPARATUS = """
readout: {samples: 1024, noise_temperature_k: 0.3}
ensemble: {pitch_angle_deg: [88.5, 89.5], radius_m: [0.0, 0.005]}
"""


def run(main: object, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["script", *map(str, arguments)])
        assert not main()  # type: ignore[operator]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("posterior")
    (folder / "apparatus.yaml").write_text(APPARATUS)
    raw, data = folder / "raw", folder / "data.hdf5"
    run(simulate, "-c", folder / "apparatus.yaml", "--events", 200, "--output", raw, "--workers", 1)
    run(prepare, "--input", raw, "--output", data, "--workers", 1)
    options = [f"--data.data={data}", f"--run={folder / 'run'}", *NARROW, *FLOW, *QUICK, "--trainer.max_epochs=2"]
    assert main(["fit", "-c", str(CONFIGS / "posterior.yaml"), *options]) == 0
    assert main(["test", f"--run={folder / 'run'}", *QUICK[:2]]) == 0
    return folder


@pytest.fixture(scope="module")
def weighed(folder: Path) -> tuple[WeightedSamples, PredictionTable]:
    with pytest.MonkeyPatch.context() as patch:
        exact = command.ExactPosterior
        patch.setattr(command, "ExactPosterior", lambda a, noise: exact(a, noise, LineTable(a, (3, 8, 6))))
        arguments = ["--run", folder / "run", "--data", folder / "data.hdf5", "--samples", 50, "--seed", 3]
        outputs = ["--output", folder / "posterior.hdf5", "--samples-file", folder / "samples.hdf5"]
        run(command.main, *arguments, *outputs)
    return WeightedSamples.read(folder / "samples.hdf5"), PredictionTable.read(folder / "posterior.hdf5")


def test_the_table_of_a_flow_is_one_as_of_any_head(folder: Path) -> None:
    table = PredictionTable.read(folder / "run" / "predictions.hdf5")
    assert table.targets == VALUES
    assert np.isfinite(table.std("radius_m")).all()
    assert table.columns["posterior_quantile"].shape == (len(table), 3, 19)
    assert (np.diff(table.columns["posterior_quantile"], axis=2) >= 0).all()
    assert (table.columns["energy_low95_ev"] < table.columns["energy_high95_ev"]).all()
    assert compare([table])


def test_weighted_samples_and_their_table_are_of_the_same_electrons(
    folder: Path, weighed: tuple[WeightedSamples, PredictionTable]
) -> None:
    samples, table = weighed
    assert len(samples) == len(table) == 20
    assert samples.values["energy_ev"].shape == (20, 50)
    np.testing.assert_array_equal(samples.event_id, table.event_id)
    np.testing.assert_allclose(samples.truth["energy_ev"], table.truth("energy_ev"))
    np.testing.assert_allclose(table.mean("energy_ev"), samples.quantiles("energy_ev", [0.5])[:, 0])
    assert table.attributes["split"] == "test"
    assert table.column("too_few_samples").mean() > 0.5  # two epochs
    possible = np.isfinite(samples.log_weight).any(axis=1)
    assert possible.mean() > 0.5
    assert table.column("too_few_samples")[~possible].all()


def test_the_same_event_gets_the_same_samples_whoever_is_beside_it(folder: Path) -> None:
    module = load_module(folder / "run" / "checkpoints" / "best.ckpt")
    propose = FlowProposal(module, 5, seed=2)
    series = torch.view_as_complex(0.1 * torch.randn(4, 1024, 2, dtype=torch.float64))
    events = torch.tensor([5, 6, 7, 8])
    with torch.no_grad():
        points, density = propose(series, events)
        alone, its = propose(series[2:3], events[2:3])
    torch.testing.assert_close(alone[0], points[2], rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(its[0], density[2], rtol=1e-3, atol=1e-2)
    assert isinstance(module(torch.view_as_real(series).float()), DrawnDistribution)


def test_records_get_the_noise_that_the_likelihood_knows(folder: Path) -> None:
    module = load_module(folder / "run" / "checkpoints" / "best.ckpt")
    arguments = command.command_line().parse_args(["--run", str(folder), "--data", str(folder / "data.hdf5")])
    own = SimulationConfig.from_yaml(folder / "apparatus.yaml")
    louder = dataclasses.replace(own, readout=dataclasses.replace(own.readout, noise_temperature_k=3.0))
    for named, config in ((None, own), (louder, louder)):
        std_volt = command._recordings(arguments, module, named).noise_std_volt
        assert std_volt == pytest.approx(Apparatus.from_config(config).noise_std_volt)


def test_a_flow_goes_on_where_it_stopped(folder: Path) -> None:
    assert main(["fit", f"--run={folder / 'run'}", "--resume", "--trainer.max_epochs=3", *QUICK]) == 0


def test_what_cannot_be_is_told(folder: Path, tmp_path: Path) -> None:
    checkpoint = folder / "run" / "checkpoints" / "best.ckpt"
    flow = load_module(checkpoint)
    with pytest.raises(UserError, match="not exported"):
        export(flow, [checkpoint], tmp_path / "flow.pt2")
    flow.reconstructor.head = MixtureHead(flow.reconstructor.head.in_width, 3)
    with pytest.raises(UserError, match="FlowHead"):
        FlowProposal(flow, 5)
    # another apparatus than that of the records
    with pytest.raises(UserError, match="samples 1024, those of the apparatus 8192"):
        run(command.main, "--checkpoint", checkpoint, "--data", folder / "data.hdf5", "-c", "cavity_26ghz")
    fewer = load_module(checkpoint)
    fewer.targets = fewer.targets[:2]
    with pytest.raises(UserError, match="targets are energy_eV, pitch_angle_deg;"):
        FlowProposal(fewer, 5)
