"""Two processes train through the command line, as on two GPUs, and end together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_a_training_of_two_processes_ends_and_says_each_epoch_once(tiny, records, tmp_path):
    options = [f"--data.data={records}", f"--run={tmp_path}", "--trainer.devices=2", "--trainer.strategy=ddp"]
    command = [sys.executable, str(ROOT / "cli.py"), "fit", "-c", str(tiny), *options]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment = {**plain, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("epoch 3/3") == 1
    assert "3 batches an epoch" in said  # 153 electrons in batches of 32 are 5 steps of one process
    assert "sync_dist" not in said
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert rows[-1].startswith("8,")
