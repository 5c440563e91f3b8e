"""Two processes (gloo) train as one: the gradients of the joint batch, and each electron its own noise."""

import json
import sys
from pathlib import Path

import pytest
import rank
import torch
import yaml
from programs import plain_environment, run_programs


@pytest.fixture(scope="module")
def config(tiny):
    model = yaml.safe_load(tiny.read_text())["model"]
    return model | {"sampling_rate_hz": 403e6, "targets": ["energy_eV", "pitch_angle_deg"], "augmentations": []}


def run_two_processes(config: dict, folder: Path, late: dict[str, str]) -> list[dict]:
    """Run both ranks, whose ends meet gloo's threads still at work: let_go_of_gradients keeps them from hanging."""
    words = [sys.executable, rank.__file__, json.dumps(config), str(folder)]
    environment = plain_environment(**late, LATE_FROM=str(folder / "late"))
    ended = run_programs(*([*words, number] for number in range(2)), folder=folder, environment=environment)
    assert [one.code for one in ended] == [0, 0], "\n".join(one.said for one in ended)
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(2)]


@pytest.mark.timeout(0)  # run_programs sees when they hang
def test_two_processes_have_the_gradients_of_the_joint_batch_and_their_own_noise(config, tmp_path, late_gloo):
    one, other = run_two_processes(config, tmp_path, late_gloo)
    module = rank.make(config)
    together = rank.gradients(module, rank.Objective(module)(rank.joint_batch()))
    for name, gradient in together.items():
        torch.testing.assert_close(one["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(other["gradients"][name], one["gradients"][name])
    assert float((one["noise"] - other["noise"]).abs().max()) > 0.01
    assert float((one["noise"] * other["noise"]).mean().abs()) < 0.1 * float(one["noise"].square().mean())
