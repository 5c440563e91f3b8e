"""Two processes (gloo) train as one: the gradients of the joint batch, and each electron its own noise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml
from lightning.pytorch import seed_everything

from cres.training.loading import build_module

ROWS = 8


def joint_batch() -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        # the same record for all, so that only the noise can differ
        "series": (0.1 * torch.randn(1, 256, 2, generator=generator)).expand(ROWS, -1, -1).clone(),
        "lengths": torch.full((ROWS,), 256),
        "event_id": torch.arange(ROWS),
        "targets": torch.rand(ROWS, 2, generator=generator, dtype=torch.float64),
        "observables": {},
    }


def share(batch: dict, rank: int) -> dict:
    return {name: value[rank::2] if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def make(config: dict) -> torch.nn.Module:
    seed_everything(0, verbose=False)
    module = build_module(config)
    module.reconstructor.target_scaler.fit(joint_batch()["targets"])
    return module.eval()


def gradients(module: torch.nn.Module, loss: torch.Tensor) -> dict:
    loss.backward()
    return {name: value.grad for name, value in module.named_parameters()}


class Objective(torch.nn.Module):
    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: dict) -> torch.Tensor:
        return self.module.objective(self.module.inject(batch, 0), batch)[0]


def work(rank: int, config: dict, folder: Path) -> None:
    """What one of the two processes does; run by this file as a program: a forked copy of pytest's threads may hang."""
    torch.set_num_threads(1)
    # a file, not a port: another test may take a port between its being found free and its being used
    meeting = (folder / "meeting").resolve().as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    module = make(config)
    wrapped = torch.nn.parallel.DistributedDataParallel(Objective(module))
    mine = share(joint_batch(), rank)
    found = gradients(module, wrapped(mine))
    noise = module.inject(mine, 0) - module.inject(mine, 0, 0.0)
    torch.save({"gradients": found, "noise": noise.detach()}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def config(tiny):
    model = yaml.safe_load(tiny.read_text())["model"]
    return model | {"sampling_rate_hz": 403e6, "targets": ["energy_eV", "pitch_angle_deg"], "augmentations": []}


def run_two_processes(config: dict, folder: Path) -> list[dict]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, json.dumps(config), str(folder)]
    ranks = [
        subprocess.Popen(
            [*words, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=240)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_have_the_gradients_of_the_joint_batch_and_their_own_noise(config, tmp_path):
    one, other = run_two_processes(config, tmp_path)
    module = make(config)
    together = gradients(module, Objective(module)(joint_batch()))
    for name, gradient in together.items():
        torch.testing.assert_close(one["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(other["gradients"][name], one["gradients"][name])
    assert float((one["noise"] - other["noise"]).abs().max()) > 0.01
    assert float((one["noise"] * other["noise"]).mean().abs()) < 0.1 * float(one["noise"].square().mean())


if __name__ == "__main__":
    work(int(sys.argv[3]), json.loads(sys.argv[1]), Path(sys.argv[2]))
