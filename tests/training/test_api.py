"""The verbs of `import cres`: what they return, what they refuse, and that importing them costs nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cres
from cres import resources
from cres.data.records import open_records
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.training.package import MOST_BYTES, read_package, without_places, write_package
from reconstruction.training.command_line.cli import CommandLine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packaged(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that was trained in a second, as data of the package."""
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    return write_package(trained / "checkpoints" / "best.ckpt", tmp_path / "pretrained" / "tiny")


def volts_of(records: Path, count: int = 70) -> np.ndarray:
    return open_records(records).read_series(np.arange(count))


@pytest.mark.filterwarnings("ignore:the records are not like those")
def test_a_model_reads_volts_as_predict_does(trained: Path, records: Path, tmp_path: Path) -> None:
    """Twin: the table that `cli.py predict` writes for the same records, more than a batch of them."""
    path = tmp_path / "predictions.hdf5"
    options = [f"--run={trained}", f"--data.data={records}", f"--predictions={path}", "--noise_scale=0"]
    config = f"-c={trained / 'config.yaml'}"
    CommandLine("predict", [config, *options]).execute()
    estimates = cres.load(trained)(volts_of(records), event_id=np.arange(70))
    theirs = PredictionTable.read(path)
    for name in ("energy_ev", "energy_std_ev", "pitch_angle_deg", "energy_low95_ev", "energy_spread_ev"):
        np.testing.assert_allclose(estimates[name], theirs.column(name)[:70], rtol=1e-6)
    np.testing.assert_allclose(estimates.posterior.estimate[:, 0], estimates["energy_ev"])
    assert estimates.posterior.sample(3).shape == (3, 70, 2)


@pytest.mark.filterwarnings("ignore:the records are not like those")
def test_every_form_of_volts_is_the_same(trained: Path, records: Path) -> None:
    model, volts = cres.load(trained, "last"), volts_of(records, 3)
    expected = model(volts)["energy_ev"]
    for form in (volts[..., 0] + 1j * volts[..., 1], torch.from_numpy(volts), volts.astype(float)):
        np.testing.assert_allclose(model(form)["energy_ev"], expected, rtol=1e-6)
    np.testing.assert_allclose(model(volts[0])["energy_ev"], expected[:1], rtol=1e-6)
    assert len(model(volts)) == 3
    assert "energy_ev" in repr(model(volts))
    assert "energy_std_ev" in model(volts).to_pandas()
    assert repr(model) == "trained: volts of 512 samples at 403 MHz → energy_eV, pitch_angle_deg" or "512" in repr(
        model
    )


@pytest.mark.filterwarnings("ignore:the records are not like those")
def test_a_model_online_says_what_it_says_when_called(trained: Path, records: Path) -> None:
    model, volts = cres.load(trained), volts_of(records, 3)
    expected = model(volts)
    estimates, error_bars = model.online("cpu")(volts)
    for place, name in enumerate(("energy", "pitch_angle")):
        unit = "ev" if name == "energy" else "deg"
        np.testing.assert_allclose(estimates[:, place], expected[f"{name}_{unit}"], rtol=1e-6)
        np.testing.assert_allclose(error_bars[:, place], expected[f"{name}_std_{unit}"], rtol=1e-5)


def test_what_cannot_be_read_online_is_one_sentence(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cres.load(trained)
    for volts in (np.zeros((2, 4)), np.zeros((1, 4), complex), np.zeros((0, 4, 2))):
        with pytest.raises(UserError, match=r"real are read online"):
            model.online("cpu")(volts)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU"):
        model.online()


def test_wrong_volts_are_one_sentence(trained: Path) -> None:
    model = cres.load(trained)
    for volts, words in (
        (np.zeros((2, 512)), r"shape \(2, 512\)"),
        (np.zeros((2, 512, 3)), r"shape \(2, 512, 3\)"),
        (np.zeros((0, 512, 2)), r"shape \(0, 512, 2\)"),
        (np.full((1, 512, 2), np.nan), "NaN or infinity"),
    ):
        with pytest.raises(UserError, match=words):
            model(volts)
    with pytest.raises(UserError, match="2 records and 3 event ids"):
        model(np.zeros((2, 512, 2)), event_id=np.arange(3))


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        cres.load(tmp_path)
    with pytest.raises(UserError, match="this installation has no pretrained model 'unknown'"):
        cres.pretrained("unknown")
    with pytest.raises(UserError, match=r"no apparatus 'tritum' .did you mean 'tritium'"):
        cres.simulate(1, "tritum")
    with pytest.raises(UserError, match="1 electron or more"):
        cres.simulate(0)


@pytest.mark.filterwarnings("ignore:the records are not like those")
def test_a_packaged_model_is_the_model(packaged: Path, trained: Path, records: Path) -> None:
    model = cres.pretrained("tiny")
    volts = volts_of(records, 4)
    for name in ("energy_ev", "energy_std_ev", "energy_low95_ev"):
        np.testing.assert_array_equal(model(volts)[name], cres.load(trained)(volts)[name])
    assert (packaged / "weights.pt").stat().st_size < MOST_BYTES
    assert "cres.pretrained" in (packaged / "README.md").read_text()
    assert str(trained) not in (packaged / "card.json").read_text()


def test_weights_of_another_model_are_refused(packaged: Path) -> None:
    raw = bytearray((packaged / "weights.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    (packaged / "weights.pt").write_bytes(raw)
    with pytest.raises(UserError, match="not what its card says"):
        read_package("tiny")
    (packaged / "weights.pt").unlink()
    with pytest.raises(UserError, match="not what its card says"):
        cres.pretrained("tiny")
    with pytest.raises(UserError, match=r"'tinny' .did you mean 'tiny'"):
        cres.pretrained("tinny")


def test_places_of_the_training_machine_are_left_out() -> None:
    value = {"files": ["/home/somebody/data/a.hdf5", "runs/a"], "config": json.dumps({"data": "/tmp/x/b.hdf5", "n": 1})}
    assert without_places(value) == {"files": ["a.hdf5", "runs/a"], "config": '{"data": "b.hdf5", "n": 1}'}


def shipped() -> list[Path]:
    return sorted((ROOT / "src" / "cres" / "pretrained").glob("*/card.json"))


@pytest.mark.parametrize("card", shipped(), ids=lambda path: path.parent.name)
def test_a_model_that_is_shipped_reconstructs_electrons(card: Path) -> None:
    """Resolved electrons of the apparatus of its name: within a tenth of an eV, error bars that hold two thirds."""
    model = cres.pretrained(card.parent.name)
    estimates = model(cres.simulate(120, card.parent.name, seed=11))
    resolved = estimates["sideband_snr"] >= 25
    residual = estimates.table.residual("energy_ev")[resolved]
    assert np.median(np.abs(residual)) < 0.1
    assert 0.5 < np.mean(np.abs(residual) < estimates["energy_std_ev"][resolved]) < 0.85
    assert (card.parent / "weights.pt").stat().st_size < MOST_BYTES


@pytest.mark.filterwarnings("ignore:the records ")
def test_the_lines_of_the_readme_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the model that is shipped; in a checkout without one, with one that was trained in a second."""
    if not shipped():
        write_package(trained / "checkpoints" / "best.ckpt", tmp_path / "pretrained" / "cavity_26ghz")
        monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
        monkeypatch.setattr(resources, "configs_folder", lambda: ROOT / "configs")
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(block, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "energy_std_ev" in told
    assert "tensor" in told


def test_simulated_records_are_those_of_the_simulator() -> None:
    from cres.simulation import SimulationConfig, sample_electrons, simulate_columns

    electrons = cres.simulate(3, seed=7)
    config = SimulationConfig.from_yaml(ROOT / "configs/simulation/cavity_26ghz_modes.yaml")
    expected = simulate_columns(config, sample_electrons(config, 3, 7))
    for name, values in expected.items():
        np.testing.assert_array_equal(electrons[name], values)
    quiet = electrons.volts(noise_scale=0)
    np.testing.assert_array_equal(quiet[..., 1], expected["output_ts_Q"])
    noise = electrons.volts() - quiet
    assert noise.std() == pytest.approx(np.sqrt(25 * 2.2e-13 * 403e6), rel=0.02)
    np.testing.assert_array_equal(electrons.volts(), electrons.volts())
    assert np.abs(electrons.volts(seed=1) - electrons.volts()).max() > 0
    assert "3 simulated electrons of 8192 samples" in repr(electrons)


@pytest.mark.filterwarnings("ignore:the records ")
def test_records_without_noise_get_it_where_it_is_asked_for(trained: Path) -> None:
    model = cres.load(trained)
    # the noise is that of the training
    electrons = replace(cres.simulate(3, seed=7), noise_density_w_per_hz=model.card["data"]["noise_density_w_per_hz"])
    quiet = electrons.volts(noise_scale=0)
    ids = electrons["event_id"]
    found = model(quiet, event_id=ids, noise_scale=1)
    np.testing.assert_array_equal(found["energy_ev"], model(electrons)["energy_ev"])
    assert np.abs(model(quiet, event_id=ids)["energy_ev"] - found["energy_ev"]).max() > 0
    for wrong in (-1, float("nan")):
        with pytest.raises(UserError, match=r"noise_scale is .*0 or more"):
            model(quiet, noise_scale=wrong)


def test_the_endpoint_of_two_tables(tmp_path: Path) -> None:
    """The verb gives what the analysis gives; a wrong option is named."""
    from cres.endpoint.analysis import Options, analyse
    from cres.endpoint.examples import example_tables

    data, calibration = example_tables(calibration=600, electrons=400, endpoint_ev=18_574.0, seed=1)
    options = {"systematics": False, "limit": False}
    expected = analyse(data, calibration, Options(**options))
    found = cres.fit_endpoint(data.write(tmp_path / "data.hdf5"), calibration, **options)
    assert found.fit.endpoint_ev == pytest.approx(expected.fit.endpoint_ev, abs=1e-6)
    with pytest.raises(UserError, match="no option 'windw_ev'"):
        cres.fit_endpoint(data, calibration, windw_ev=(1, 2))


def run_python(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=120)


BLOCKED = "jaxtyping einops opt_einsum scipy lightning pandas h5py matplotlib wandb iminuit rich jsonargparse yaml"
BLOCKER = f"""
import importlib.abc, sys
import numpy, torch
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {BLOCKED.split()!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)
sys.meta_path.insert(0, Block())
"""


def test_import_cres_imports_nothing_else() -> None:
    heavy = ("torch", "numpy", "pandas", "lightning")
    program = f"import sys, cres; print([n for n in {heavy} if n in sys.modules], dir(cres))"
    found = run_python(program)
    assert found.stdout.startswith("[] ")
    assert "pretrained" in found.stdout
    wrong = run_python("import cres; cres.pretained")
    assert "has no attribute 'pretained'" in wrong.stderr


def test_the_networks_need_torch_and_numpy_alone() -> None:
    program = BLOCKER + (
        "import cres\nfrom reconstruction.models import S4DEncoder\n"
        "import torch\nprint(S4DEncoder(in_channels=2, width=4, depth=1)(torch.zeros(1, 16, 2)).shape)"
    )
    found = run_python(program)
    assert found.returncode == 0, found.stderr
    assert "torch.Size([1, " in found.stdout
    assert run_python(BLOCKER + "import scipy").returncode == 1
