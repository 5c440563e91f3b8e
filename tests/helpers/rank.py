"""What each of two processes (gloo) does in the test of their gradients; run as a program, one a rank."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from lightning.pytorch import seed_everything

from reconstruction.training.runs.loading import build_module
from reconstruction.training.runs.processes import let_go_of_gradients

ROWS = 8


def joint_batch() -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        # the same record for all, so that only the noise can differ
        "inputs": {"series": (0.1 * torch.randn(1, 256, 2, generator=generator)).expand(ROWS, -1, -1).clone()},
        "event_id": torch.arange(ROWS),
        "targets": torch.rand(ROWS, 2, generator=generator, dtype=torch.float64),
        "observables": {},
    }


def share(batch: dict, rank: int) -> dict:
    mine = {name: value[rank::2] if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    return mine | {"inputs": {name: value[rank::2] for name, value in batch["inputs"].items()}}


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
    """Write the gradients of this rank's share of the joint batch, and its noise."""
    torch.set_num_threads(1)
    # a file, not a port: another test may take a port between its being found free and its being used
    meeting = (folder / "meeting").resolve().as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    module = make(config)
    wrapped = torch.nn.parallel.DistributedDataParallel(Objective(module))
    mine = share(joint_batch(), rank)
    noisy, clean = (module.inject(mine, 0, scale)["inputs"]["series"] for scale in (1.0, 0.0))
    noise = noisy - clean
    loss = wrapped(mine)
    (folder / "late").touch()
    found = gradients(module, loss)
    torch.save({"gradients": found, "noise": noise.detach()}, folder / f"{rank}.pt")
    let_go_of_gradients()
    dist.destroy_process_group()


if __name__ == "__main__":
    work(int(sys.argv[3]), json.loads(sys.argv[1]), Path(sys.argv[2]))
