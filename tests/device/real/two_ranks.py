"""What the two ranks of the test do; run as a program: two_ranks.py KIND CONFIG RECORDS FOLDER [RANK]."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def train(rank: int, kind: str, config: str, records: str, folder: Path) -> None:
    """Train as one of two nodes of one device each, and write the weights that this rank ends with."""
    import torch
    from lightning.pytorch.strategies import DDPStrategy

    from reconstruction.training.command_line.cli import CommandLine

    torch.set_num_threads(1)
    meeting = {"MASTER_ADDR": "127.0.0.1", "NODE_RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    os.environ |= meeting
    options = [f"--data.data={records}", f"--run={folder}", "--trainer.devices=1", "--trainer.num_nodes=2"]
    options += [f"--trainer.accelerator={kind}", "--trainer.strategy=ddp"]
    inner = DDPStrategy.__init__

    def through_gloo(self: DDPStrategy, *given: object, **named: object) -> None:
        inner(self, *given, **{**named, "process_group_backend": "gloo"})  # type: ignore[arg-type]

    DDPStrategy.__init__ = through_gloo  # type: ignore[method-assign]
    command = CommandLine("fit", ["-c", config, *options])
    command.execute()
    weights = {name: value.detach().cpu() for name, value in command.model.named_parameters()}
    torch.save(weights, folder / f"weights_{rank}.pt")
    sys.stdout.flush()
    os._exit(0)  # without destructors, see tests/helpers/rank.py


def main() -> None:
    """Start both ranks, or be one."""
    kind, config, records, folder, *rank = sys.argv[1:]
    if rank:
        train(int(rank[0]), kind, config, records, Path(folder))
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_PORT": port}
    ranks = [subprocess.Popen([sys.executable, *sys.argv, str(one)], env=environment) for one in range(2)]
    sys.exit(max(one.wait() for one in ranks))


if __name__ == "__main__":
    main()
