"""Two processes train through the command line, as on two GPUs, and end together."""

import sys
from pathlib import Path

import pytest
from programs import run_program

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(0)  # run_program sees when they hang


STARTS = {"its own": [], "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]}


@pytest.mark.parametrize("start", STARTS)
def test_a_training_of_two_processes_ends_and_says_each_epoch_once(tiny, records, tmp_path, start):
    options = [f"--data.data={records}", f"--run={tmp_path}", "--trainer.devices=2", "--trainer.strategy=ddp"]
    done = run_program([sys.executable, *STARTS[start], ROOT / "cli.py", "fit", "-c", tiny, *options], tmp_path)
    assert done.code == 0, done.said
    assert done.said.count("epoch 3/3") == 1
    assert "3 batches an epoch" in done.said  # 153 electrons in batches of 32 are 5 steps of one process
    assert "sync_dist" not in done.said
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert rows[-1].startswith("8,")
