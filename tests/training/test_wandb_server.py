"""The real client of Weights & Biases against servers on loopback that refuse, hang, drop, or are not there."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# "later": it begins the run, and fails once metrics arrive
KINDS = ("refuses", "rejects the key", "hangs", "drops", "is not there", "refuses later", "hangs later", "drops later")
REFUSAL = b'{"errors":[{"message":"storage quota exceeded"}],"error":"storage quota exceeded"}'
NO_KEY = b'{"errors":[{"message":"user is not logged in"}]}'
HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
OPENING = (b"RunResumeStatus", b"UpsertBucket")
LEFT_OUT = "Weights & Biases is left out"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Server:
    """Answers every connection in the one way of its kind, and counts them."""

    def __init__(self, kind: str) -> None:
        self.kind, self.connections, self.metrics_came = kind, 0, False
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        if kind == "is not there":
            self._listener.close()
        else:
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            asked = request(connection)
            self.metrics_came = self.metrics_came or b"/file_stream" in asked
            if self.kind.endswith(" later") and not self.metrics_came and any(word in asked for word in OPENING):
                connection.sendall(HEAD % (b"200 OK", 11) + b'{"data":{}}')
            elif self.kind.startswith("hangs"):
                self._held.append(connection)
                return
            elif self.kind == "rejects the key":
                connection.sendall(HEAD % (b"401 Unauthorized", len(NO_KEY)) + NO_KEY)
            elif self.kind.startswith("refuses"):
                connection.sendall(HEAD % (b"403 Forbidden", len(REFUSAL)) + REFUSAL)
        connection.close()

    def close(self) -> None:
        for connection in (self._listener, *self._held):
            connection.close()


def request(connection: socket.socket) -> bytes:
    """Return a whole request: head and body."""
    asked = b""
    while True:
        part = connection.recv(65536)
        asked += part
        head, _, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not part or (b"\r\n\r\n" in asked and len(body) >= (int(length[1]) if length else 0)):
            return asked


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    one = Server(request.param)
    yield one
    one.close()


def run(server: Server, folder: Path, *words: str) -> str:
    """Run a command as a user who is logged in there; it must end well."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "WANDB"))}
    there = {"WANDB_API_KEY": "0123456789" * 4, "WANDB_BASE_URL": server.url, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**plain, **there}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert server.connections > 0 or server.kind == "is not there"
    assert server.metrics_came or not server.kind.endswith(" later")
    return done.stdout + done.stderr


def test_a_training_ends_normally_with_one_warning(server, tiny, records, tmp_path):
    options = [f"--data.data={records}", f"--run={tmp_path / 'run'}", "--trainer.enable_progress_bar=false"]
    said = run(server, tmp_path, str(ROOT / "cli.py"), "fit", "-c", str(tiny), *options)
    # a warning shows the line of the program that gives it
    told = [line for line in said.splitlines() if LEFT_OUT in line and "rank_zero_warn" not in line]
    if server.kind == "refuses later":  # the client itself gives up the upload, says so, and keeps the run on the disk
        told += [line for line in said.splitlines() if "Fatal error while uploading data" in line]
    assert len(told) == 1, said
    assert "epoch 3/3" in said
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) > 3
    assert (tmp_path / "run/checkpoints/best.ckpt").exists()


def test_a_summary_is_written_whatever_the_server_does(server, tmp_path):
    write_run(tmp_path / "runs/000")
    said = run(server, tmp_path, str(ROOT / "scripts/sweep.py"), "summarise", "runs", "--wandb")
    assert said.count(LEFT_OUT) == 1, said
    assert (tmp_path / "runs/summary.html").exists()


def write_run(folder: Path) -> None:
    """Write what a training of two epochs leaves behind."""
    folder.mkdir(parents=True)
    config = {"trainer": {"max_epochs": 2}, "checkpoint": {"monitor": "val/loss"}, "run": str(folder)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.csv").write_text("step,epoch,train/loss_epoch,val/loss\n4,0,3.0,2.0\n9,1,2.5,1.5\n")
