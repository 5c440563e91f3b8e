from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cres.data.noise_spectrum import NoiseSpectrum
from cres.errors import UserError
from cres.estimation.bound.electrons import bound_of, freedom
from cres.estimation.fit.likelihood import LikelihoodEstimator
from cres.estimation.methods.registry import run
from cres.estimation.methods.task import Task
from cres.estimation.noise import Coloured, relative_power
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import SimulationConfig


def table(path: Path, rows: str) -> Path:
    path.write_text("frequency_hz,relative_power\n" + rows)
    return path


def test_a_spectrum_is_read_in_fft_order(tmp_path: Path) -> None:
    path = table(tmp_path / "noise.csv", "-100,1\n0,2\n100,4\n")
    assert relative_power(NoiseSpectrum.read(path), 4, 200.0).tolist() == [2.0, 3.0, 1.0, 1.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [("0,1\n-5,2\n", "rising"), ("0,-1\n", "positive"), ("", "rising"), ("0,nan\n", "positive")],
)
def test_what_is_no_spectrum_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NoiseSpectrum.read(table(tmp_path / "noise.csv", rows))


def test_a_missing_file_and_a_missing_column_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        NoiseSpectrum.read(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no frequency_hz"):
        NoiseSpectrum.read(tmp_path / "other.csv")


def test_the_fit_knows_coloured_noise(simulated) -> None:  # type: ignore[no-untyped-def]
    # four times the noise power where the sidebands are
    apparatus, samples = simulated.apparatus, simulated.clean.shape[1]
    frequency = torch.fft.fftfreq(samples, 1 / apparatus.reception.sampling_rate_hz, dtype=torch.float64)
    shape = torch.where((frequency + 65e6).abs() > 9e6, 2.0, 1.0).double()
    noise = Coloured(apparatus.noise_std_volt * shape)
    chosen = np.flatnonzero(simulated.columns["sideband_snr"] >= 60)[:8]
    coloured = torch.fft.ifft(torch.fft.fft(simulated.noisy[chosen] - simulated.clean[chosen]) * shape)
    fitted = LikelihoodEstimator(MatchedFilter(apparatus, noise)).estimate(simulated.clean[chosen] + coloured)
    truth = simulated.parameters[chosen]
    bound = bound_of(apparatus, freedom(SimulationConfig.default()), truth, noise).std_of("energy_ev")
    assert not fitted.failed.any()
    assert ((fitted.parameters[:, 0] - truth[:, 0]).abs() / bound).max() < 5
    assert (fitted.covariance[:, 0, 0].sqrt() / bound).median() == pytest.approx(1.0, abs=0.1)
    white = bound_of(apparatus, freedom(SimulationConfig.default()), truth).std_of("energy_ev")
    assert (bound > 1.05 * white).all()


def test_a_task_colours_the_noise(simulated, data_file: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    twice = table(tmp_path / "twice.csv", "-201500000,2\n201500000,2\n")
    plain, loud, doubled = (
        run(Task(str(data_file), "bound", "all", limit=3, noise_scale=scale, noise_spectrum=spectrum))
        for scale, spectrum in ((1.0, None), (1.0, str(twice)), (2.0, None))
    )
    np.testing.assert_allclose(loud.std("energy_ev"), doubled.std("energy_ev"), rtol=1e-6)
    assert (loud.std("energy_ev") > 1.4 * plain.std("energy_ev")).all()
