"""The real command line, from simulated electrons to the endpoint, on a few dozen electrons."""

from __future__ import annotations

from pathlib import Path

import pytest
from forked import run_forked

from cres.evaluation import PredictionTable

ROOT = Path(__file__).parents[1]
INDEPENDENT = ROOT.parent / "shared" / "data" / "independent_simulation.pkl.gz"
SMALL_MODEL = (
    "--trainer.max_epochs=8",
    "--trainer.enable_progress_bar=false",
    "--model.encoders.spectrum.init_args.width=16",
    "--model.encoders.spectrum.init_args.depth=1",
    "--data.batch_size=8",
)


def run(folder: Path, *words: str, code: int = 0) -> str:
    """Run a command of the project in a folder; return what it said."""
    done = run_forked(ROOT / words[0], *words[1:], folder=folder, environment={"COLUMNS": "200"})
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which 64 electrons were simulated, prepared and trained on, by the defaults of every step."""
    folder = tmp_path_factory.mktemp("chain")
    run(folder, "scripts/simulate.py", "--events", "64", "--workers", "1")
    run(folder, "scripts/data_prep.py", "--workers", "1")
    run(folder, "cli.py", "fit", "-c", str(ROOT / "configs/s4d.yaml"), *SMALL_MODEL)
    return folder


def test_from_simulation_to_report_and_endpoint(trained: Path) -> None:
    run(trained, "cli.py", "test", "--run=runs/s4d")
    run(trained, "scripts/estimate.py", "--method", "carrier", "--split", "all", "--output", "carrier.hdf5")
    run(trained, "cli.py", "predict", "--run=runs/s4d", "--predictions=all.hdf5")
    judge = ("scripts/evaluate.py", "all.hdf5", "carrier.hdf5", "--output", "report", "--bootstrap", "20")
    assert "51 of its 64 electrons are training electrons" in run(trained, *judge, code=2)
    assert not (trained / "report").exists()
    # six test electrons are too few for figures
    assert "σ68" in run(trained, *judge, "--allow-training")
    assert (trained / "report" / "report.html").stat().st_size > 10_000
    assert len(PredictionTable.read(trained / "runs/s4d/predictions.hdf5")) == 6
    config = ROOT / "configs/simulation/tritium.yaml"
    run(trained, "scripts/simulate.py", "-c", str(config), "--events", "64", "--output", "tritium", "--workers", "1")
    run(trained, "scripts/data_prep.py", "--input", "tritium", "--output", "tritium.hdf5", "--workers", "1")
    run(trained, "cli.py", "predict", "--run=runs/s4d", "--data.data=tritium.hdf5", "--predictions=tritium_all.hdf5")
    assert len(PredictionTable.read(trained / "tritium_all.hdf5")) == 64
    # a network that saw 51 electrons states tens of eV: the cuts let everything pass
    cuts = ("--max-std", "1000", "--max-spread", "1000")
    fit = ("scripts/endpoint.py", "--data", "tritium_all.hdf5", "--calibration", "all.hdf5", *cuts)
    assert "not used as calibration" in run(trained, *fit, code=2)
    said = run(trained, *fit, "--allow-training", "--mass-toys", "2")
    assert "fitted endpoint" in said
    assert "18574.100 eV" in said


def test_a_step_whose_input_is_missing_names_the_command_that_makes_it(tmp_path: Path) -> None:
    assert "scripts/simulate.py" in run(tmp_path, "scripts/data_prep.py", code=2)
    assert "scripts/data_prep.py" in run(tmp_path, "cli.py", "fit", "-c", str(ROOT / "configs/s4d.yaml"), code=2)
    assert "scripts/data_prep.py" in run(tmp_path, "scripts/estimate.py", code=2)
    assert "cli.py" in run(tmp_path, "scripts/evaluate.py", code=2)
    assert "cli.py" in run(tmp_path, "scripts/endpoint.py", code=2)


@pytest.mark.skipif(not INDEPENDENT.exists(), reason="the shared folder with the independent simulation is not here")
def test_a_file_of_another_simulation_is_prepared_trained_on_and_predicted(tmp_path: Path, trained: Path) -> None:
    run(tmp_path, "scripts/data_prep.py", "--input", str(INDEPENDENT), "--output", "other.hdf5", "--workers", "1")
    run(
        tmp_path, "cli.py", "fit", "-c", str(ROOT / "configs/s4d.yaml"), "--data.data=other.hdf5", *SMALL_MODEL,
        "--run=here",
    )  # fmt: skip
    run(tmp_path, "cli.py", "predict", "--run=here", "--predictions=own.hdf5")
    assert len(PredictionTable.read(tmp_path / "own.hdf5")) == 24
    checkpoint = trained / "runs/s4d/checkpoints/best.ckpt"
    run(
        tmp_path, "cli.py", "predict", f"--ckpt_path={checkpoint}", "--data.data=other.hdf5",
        "--predictions=foreign.hdf5",
    )  # fmt: skip
    assert len(PredictionTable.read(tmp_path / "foreign.hdf5")) == 24
