"""The receiver of a configuration: after the noise, in training and in judging, not for measured records."""

import pytest
import torch
import yaml

from cres.transforms import FROZEN_EPOCH
from reconstruction.training.runs.loading import build_module

ADC = {"class_path": "cres.transforms.Quantise", "init_args": {"range_volt": 0.5, "bits": 6}}
DRIFT = {"class_path": "cres.transforms.GainPhaseDrift", "init_args": {"gain_std": 0.1}}
BATCH = {
    "inputs": {"series": 0.1 * torch.randn(4, 512, 2, generator=torch.Generator().manual_seed(1))},
    "event_id": torch.arange(4),
}


def received(module, batch, epoch, scale=1.0):
    return module.inject(batch, epoch, scale)["inputs"]["series"]


def module_with(tiny, receiver):
    model = yaml.safe_load(tiny.read_text())["model"] | {"receiver": receiver}
    return build_module(model | {"sampling_rate_hz": 403e6, "targets": ["energy_eV", "pitch_angle_deg"], "seed": 3})


@pytest.mark.parametrize("epoch", [0, FROZEN_EPOCH])
def test_the_adc_reads_what_the_noise_left(tiny, epoch):
    module = module_with(tiny, [ADC])
    plain = received(module_with(tiny, None), BATCH, epoch)
    digital = received(module, BATCH, epoch)
    assert len(digital.unique()) <= 2**6 < len(plain.unique())
    assert (digital - plain.clamp(-0.5, 0.5)).abs().max() <= 0.5 / 2**5
    torch.testing.assert_close(received(module, BATCH, FROZEN_EPOCH, 0.0), BATCH["inputs"]["series"], rtol=0, atol=0)


def test_drift_comes_from_the_event_and_multiplies_the_noise(tiny):
    plain, drifting = (received(module_with(tiny, receiver), BATCH, FROZEN_EPOCH) for receiver in (None, [DRIFT]))
    gain = drifting / plain
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain), rtol=1e-3, atol=1e-3)
    assert gain[:, 0, 0].std() > 0.01
    again = {"inputs": {"series": BATCH["inputs"]["series"][2:]}, "event_id": BATCH["event_id"][2:]}
    torch.testing.assert_close(received(module_with(tiny, [DRIFT]), again, FROZEN_EPOCH), drifting[2:])
