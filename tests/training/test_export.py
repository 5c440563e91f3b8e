"""Exported programs: the whole posterior, the same numbers in ONNX, and a card that says how to use them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from cres.errors import UserError
from cres.training.export import LEVELS, OUTPUTS
from cres.transforms import AlignedSpectrum
from reconstruction.training.command_line.cli import main
from reconstruction.training.export.real_arithmetic import RealProgram
from reconstruction.training.runs.loading import load_module
from reconstruction.training.runs.predictions import outside_range

ROOT = Path(__file__).parents[2]


class Spectral(nn.Module):
    """Transforms of every kind, on records of any length."""

    def forward(self, series):
        values = torch.view_as_complex(series.contiguous())
        spectrum = torch.fft.fft(values, dim=1, norm="ortho")
        back = torch.fft.ifft(spectrum * spectrum.conj(), dim=1)
        half = torch.fft.rfft(series[..., 0], n=series.shape[1] + 6)
        real = torch.fft.irfft(half / (1 + half.abs()), n=series.shape[1] + 6)
        return torch.view_as_real(spectrum.flip(1)), back.real, real


@pytest.mark.parametrize("length", [8, 30, 96, 97])
def test_real_arithmetic_is_complex_arithmetic(length):
    series = torch.randn(3, length, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    program = torch.export.export(Spectral(), (series,), strict=False)
    found = RealProgram(program, series)(series)
    for one, other in zip(found, Spectral()(series), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


class Aligned(nn.Module):
    """The default's view as configured, and what it reads again where a line stands."""

    def __init__(self):
        super().__init__()
        options = yaml.safe_load((ROOT / "configs" / "s4d.yaml").read_text())["model"]["views"]["spectrum"]["init_args"]
        self.view = AlignedSpectrum(
            403e6, **{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        )

    def forward(self, series):
        seen = self.view(series)
        corrected = self.view.correction(seen, seen.scalars[:, 1] * 0 + 211.3)
        return seen.series, seen.scalars, corrected.position, corrected.scalars


def test_the_view_of_the_default_needs_no_complex_numbers():
    """It once could not leave as ONNX: no other test exports the view that is shipped."""
    series = torch.randn(3, 2048, 2, generator=torch.Generator().manual_seed(2))
    view = Aligned()
    assert view.view.corrects
    found = RealProgram(torch.export.export(view, (series,), strict=False), series)(series)
    for one, other in zip(found, view(series), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_an_operator_without_a_real_form_is_named():
    class Angle(nn.Module):
        def forward(self, series):
            return torch.angle(torch.view_as_complex(series) + 1)

    series = torch.randn(2, 4, 2)
    with pytest.raises(UserError, match=r"aten\.angle.* complex numbers"):
        RealProgram(torch.export.export(Angle(), (series,), strict=False), series)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """A folder with the program of the trained run, and its card."""
    folder = tmp_path_factory.mktemp("exported")
    assert main(["export", f"--run={trained}", f"--output={folder / 'model.pt2'}"]) == 0
    return folder


def test_the_whole_posterior_comes_out(exported, trained):
    extra = {"about.json": ""}
    program = torch.export.load(exported / "model.pt2", extra_files=extra).module()
    about = json.loads(extra["about.json"])
    names = [name for name in OUTPUTS if not name.startswith(("posterior_level", "posterior_quantile", "class_"))]
    assert about["outputs"] == {name: OUTPUTS[name] for name in names}
    assert about["levels"] == list(LEVELS)
    volts = 0.1 * torch.randn(7, 512, 2, generator=torch.Generator().manual_seed(2))
    module = load_module(trained / "checkpoints" / "best.ckpt").eval()
    with torch.no_grad():
        found, wanted = program(volts), module.reconstructor(volts)
    for place, level in enumerate(LEVELS):
        torch.testing.assert_close(found["quantiles"][..., place], wanted.quantile(level), rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(found["error_bar"], wanted.error_bar, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(found["spread"], wanted.std, rtol=1e-5, atol=1e-9)
    mean = (found["posterior_weight"].unsqueeze(-1) * found["posterior_mean"]).sum(dim=1)
    torch.testing.assert_close(mean, wanted.mean, rtol=1e-6, atol=1e-4)
    assert found["posterior_cholesky"].shape == (7, found["posterior_weight"].shape[1], 2, 2)
    assert (found["interval95"][..., 0] < found["interval95"][..., 1]).all()
    flagged = outside_range(found["estimate"].numpy(), module.card)
    np.testing.assert_array_equal(found["outside_range"].numpy(), flagged)


def test_the_cards_usage_runs_and_its_apparatus_is_that_of_the_training(exported, monkeypatch, capsys):
    card = (exported / "model.md").read_text()
    assert re.search(r"- noise of 0\.\d+ V in I and in Q", card)
    assert "strongest lines after mixing from -" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert len(code.splitlines()) <= 6
    assert "cres" not in code
    monkeypatch.chdir(exported)
    np.save("volts.npy", np.zeros((2, 512, 2)))
    exec(code, {})
    assert "tensor" in capsys.readouterr().out


def test_a_program_of_another_kind_is_refused(trained, tmp_path):
    with pytest.raises(UserError, match=r"model\.pt2 is one for torch, model\.onnx"):
        main(["export", f"--run={trained}", f"--output={tmp_path / 'model.zip'}"])


def test_onnx_finds_what_torch_finds(trained, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "model.onnx"
    assert main(["export", f"--run={trained}", f"--output={path}"]) == 0
    assert "onnxruntime and torch agree" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == [
        name for name in OUTPUTS if not name.startswith(("posterior_level", "posterior_quantile", "class_"))
    ]
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["targets"]) == ["energy_eV", "pitch_angle_deg"]
    volts = 0.1 * torch.randn(5, 512, 2, generator=torch.Generator().manual_seed(3))
    found = dict(zip(names, session.run(None, {"volts": volts.numpy()}), strict=True))
    with torch.no_grad():
        wanted = load_module(trained / "checkpoints" / "best.ckpt").eval().reconstructor(volts)
    scale = wanted.error_bar.numpy()
    assert np.abs((found["estimate"] - wanted.estimate.numpy()) / scale).max() < 1e-3
    assert np.abs((found["quantiles"][..., 1] - wanted.quantile(0.05).numpy()) / scale).max() < 1e-3
    np.testing.assert_allclose(found["error_bar"], scale, rtol=1e-3)
    assert "onnxruntime.InferenceSession" in (tmp_path / "model.md").read_text()


def test_without_its_packages_onnx_is_one_sentence(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ONNX needs onnx, onnxscript, onnxruntime: pip install .*\[onnx\]"):
        main(["export", f"--run={trained}", f"--output={tmp_path / 'model.onnx'}"])
