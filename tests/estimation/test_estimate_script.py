from __future__ import annotations

import dataclasses
import re
import runpy
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.errors import UserError
from cres.estimation.methods.recordings import Recordings
from cres.estimation.methods.registry import run
from cres.estimation.methods.table import failures
from cres.estimation.methods.task import Task
from cres.evaluation.signature import signature_of
from cres.transforms.noise import WhiteNoise
from reconstruction.judging.tables.splits import rows_in, trained_on
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom

SCRIPT = Path(__file__).parents[2] / "scripts" / "estimate.py"


def script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the script in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return int(ended.value.code or 0)


def test_the_noise_is_the_frozen_noise_of_the_event(data_file: Path) -> None:
    recordings = Recordings(str(data_file), noise_seed=4)
    rows = np.array([7, 3])
    volts = torch.from_numpy(recordings.records.read_series(rows))
    random = KeyedRandom(4, FROZEN_EPOCH, torch.from_numpy(recordings.records.event_ids[rows]))
    expected = WhiteNoise(recordings.records.sampling_rate_hz)(volts, random).double()
    torch.testing.assert_close(torch.view_as_real(recordings.series(rows)), expected, rtol=0, atol=0)
    torch.testing.assert_close(recordings.series(rows[:1]), recordings.series(rows)[:1], rtol=0, atol=0)


def test_splits_do_not_overlap_and_an_empty_one_is_refused(data_file: Path) -> None:
    recordings = Recordings(str(data_file))
    parts = [set(recordings.rows(split).tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(recordings.rows("all"))
    assert len(recordings.rows("all", 5)) == 5
    with pytest.raises(UserError, match="test split"):
        Recordings(str(data_file), fractions=(1.0, 0.0, 0.0)).rows("test")


def test_the_carrier_curve_is_fitted_on_the_training_split_only(data_file: Path) -> None:
    table = run(Task(str(data_file), "carrier"))
    assert set(table.event_id) == set(
        Recordings(str(data_file)).records.event_ids[Recordings(str(data_file)).rows("test")]
    )
    assert table.targets == ("energy_ev",)
    assert np.percentile(np.abs(table.residual("energy_ev")), 68) < 60
    assert {"true_pitch_angle_deg", "true_radius_m", "sideband_snr", "peak_carrier_hz"} <= set(table.columns)


def test_peaks_resolve_what_shows_sidebands(data_file: Path, simulated) -> None:  # type: ignore[no-untyped-def]
    table = run(Task(str(data_file), "peaks", split="all"))
    resolved = simulated.resolved
    assert np.median(np.abs(table.residual("energy_ev")[resolved])) < 0.15
    assert np.median(np.abs(table.residual("pitch_angle_deg")[resolved])) < 2e-3
    covered = np.abs(table.residual("energy_ev")) < table.std("energy_ev")
    assert 0.5 < covered.mean() < 0.85
    found = table.column("sidebands_found")
    assert found[resolved].mean() > 0.95
    assert found[simulated.columns["sideband_snr"] < 3].mean() < 0.1


def test_the_script_writes_a_table(data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "carrier.hdf5"
    assert script(monkeypatch, "--method", "carrier", "--data", str(data_file), "--output", str(output)) == 0
    table = PredictionTable.read(output)
    assert table.estimator == "carrier alone"
    assert str(data_file.name) in table.attributes["sources"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--data", "nowhere.hdf5"], "no file nowhere.hdf5"),
        (["--noise-scale", "-1"], "noise-scale: -1 must be 0 or more"),
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["--band-hz", "-45e6", "-80e6"], "give --band-hz LOW HIGH"),
        (["--band-hz", "1e6", "9e9"], "half of the sampling rate"),
        (["--first", "1000"], "none is left after --first 1000"),
    ],
)
def test_mistakes_get_one_sentence(
    data_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: list[str],
    message: str,
) -> None:
    output = tmp_path / "table.hdf5"
    output.write_bytes(b"earlier")
    assert script(monkeypatch, "--data", str(data_file), "--output", str(output), *wrong) == 2
    assert message in capsys.readouterr().err
    assert output.read_bytes() == b"earlier"


def test_the_bound_and_the_seeded_likelihood_run_on_a_file(data_file: Path, tmp_path: Path) -> None:
    task = Task(str(data_file), "bound", limit=8)
    bound = run(task)
    assert bound.is_bound
    assert np.all(bound.std("energy_ev") > 0)
    assert np.all(bound.residual("energy_ev") == 0)
    columns = {"energy_eV": bound.truth("energy_ev"), "pitch_angle_deg": bound.truth("pitch_angle_deg")}
    spread = {"energy_eV": np.full(len(bound), 1.0), "pitch_angle_deg": np.full(len(bound), 0.01)}
    network = PredictionTable.from_estimates(bound.event_id, columns, std=spread, estimator="network")
    path = network.write(tmp_path / "network.hdf5")
    table = run(dataclasses.replace(task, method="seeded", network=str(path)))
    assert {"fell_back", "goodness_p", "fit_failed", "optimum_weight", "covariance"} <= set(table.columns)
    resolved = table.column("sideband_snr") >= 25
    assert np.all(np.abs(table.residual("energy_ev"))[resolved] < 6 * bound.std("energy_ev")[resolved])
    with pytest.raises(UserError, match="--network"):
        run(dataclasses.replace(task, method="seeded"))
    with pytest.raises(UserError, match="did you mean 'bound'"):
        run(dataclasses.replace(task, method="bond"))


def test_a_table_says_its_split_and_whether_anything_was_fitted(data_file: Path, tmp_path: Path) -> None:
    carrier, bound = (run(Task(str(data_file), method, split="all", limit=40)) for method in ("carrier", "bound"))
    split = Recordings(str(data_file)).split
    events = Recordings(str(data_file)).records.event_ids
    assert set(carrier.event_id[rows_in(carrier, "train")]) <= set(events[split.train])
    assert trained_on(carrier).any()
    assert not trained_on(bound).any()
    assert signature_of(carrier) == signature_of(bound)
    assert carrier.attributes["split"].endswith("test")


def test_what_a_network_seeds_was_trained_on_what_the_network_was(data_file: Path, tmp_path: Path) -> None:
    truth = run(Task(str(data_file), "bound", split="all", limit=6))
    codes = np.array([0, 1, 2, 3, 3, -1])
    columns = {"split": codes, "energy_std_ev": np.full(6, 1.0), "pitch_angle_std_deg": np.full(6, 0.01)}
    network = PredictionTable({**truth.columns, **columns}, {"targets": truth.targets, "apparatus_warning": "hot"})
    network.write(tmp_path / "network.hdf5")
    seeded = run(Task(str(data_file), "seeded", split="all", limit=6, network=str(tmp_path / "network.hdf5")))
    known = dict(zip(network.event_id.tolist(), codes.tolist(), strict=True))
    assert seeded.column("split").tolist() == [known[event] for event in seeded.event_id.tolist()]
    assert seeded.attributes["apparatus_warning"] == "hot"
    assert re.fullmatch(r"\d of 6 fits failed, for \d the network's answer stands", failures(seeded))


@pytest.mark.parametrize("method", ["peaks", "matched-filter", "likelihood", "bound"])
def test_an_apparatus_that_nobody_names_is_not_guessed(
    method: str, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    anonymous = tmp_path / "anonymous.hdf5"
    shutil.copy(data_file, anonymous)
    with h5py.File(anonymous, "r+") as file:
        del file.attrs["config"]
    words = ("--data", str(anonymous), "--output", str(tmp_path / "p.hdf5"), "--limit", "3")
    assert script(monkeypatch, "--method", method, *words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "does not say of which trap" in said
    assert "-c cavity_26ghz" in said
    assert not (tmp_path / "p.hdf5").exists()


def test_an_apparatus_of_ours_is_called_by_its_name(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--method", "bound", "--data", str(data_file), "--output", str(tmp_path / "p.hdf5"), "--limit", "2")
    assert script(monkeypatch, *words, "-c", "cavity_26gz") == 2
    assert "did you mean 'cavity_26ghz'" in capsys.readouterr().err
    assert script(monkeypatch, *words, "-c", "cavity_26ghz") in (0, None)
    assert len(PredictionTable.read(tmp_path / "p.hdf5")) == 2
