"""One training a run folder: the second is refused while the first lives, on this machine or another one.

A file says who trains. It is made as a new file or not at all, which every shared file system does right, also one
without locks. Whether its writer still lives is asked of the process where it runs on this machine; from another one,
its file is young as long as it lives, by the clock of the file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconstruction.errors import UserError
from reconstruction.training.runs.slurm import slurm_job

LOCK = "training"
"""Name of the file in the run's folder."""
BEAT_S = 10.0
SILENT_S = 60.0
"""A writer on another machine that did not touch its file for so long is gone."""


@contextlib.contextmanager
def training_alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder. Raises UserError while another training holds it."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    _take(path)
    over = threading.Event()
    threading.Thread(target=_beat, args=(path, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        path.unlink(missing_ok=True)
        for one in made:  # a start that was refused leaves nothing behind
            with contextlib.suppress(OSError):
                one.rmdir()


def let_go(folder: Path) -> None:
    """Give up a folder that this process holds, which is about to end without further ado."""
    path = folder / LOCK
    holder = _holder(path) or {}
    if (holder.get("machine"), holder.get("pid")) == (_machine(), os.getpid()):
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    for _ in range(3):
        try:
            with path.open("x") as stream:
                stream.write(json.dumps(_this_process() | {"file": os.fstat(stream.fileno()).st_ino}) + "\n")
            return
        except FileExistsError:
            holder = _holder(path)
            if holder is not None and _lives(path, holder):
                raise UserError(
                    f"process {holder.get('pid')} on {holder.get('host')} trains in {path.parent} since "
                    f"{holder.get('since')}: wait until it has ended, end it, or choose another folder with --run"
                ) from None
            path.unlink(missing_ok=True)
    raise UserError(f"several trainings begin in {path.parent} at once: choose another folder with --run")


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.strftime("%F %T"),
        "job": slurm_job(),
    }


def _machine() -> str:
    """Return what tells this machine, since its last start, and its name space of processes from all others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Return when a process began, which tells it from a later one of its number; nothing where it is not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _holder(path: Path) -> dict[str, Any] | None:
    """Return who holds the folder; None where nobody does any more. One who has not signed yet is nameless."""
    try:
        text = path.read_text()
        return dict(json.loads(text)) if text else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return {}


def _lives(path: Path, holder: dict[str, Any]) -> bool:
    if holder.get("job") and holder.get("job") == slurm_job():
        return False  # the same job, queued again: its earlier start is over
    with contextlib.suppress(OSError):
        if holder.get("file", own := path.stat().st_ino) != own:
            return False  # the folder was copied while a training ran in the original
    pid = holder.get("pid")
    if holder.get("machine") != _machine() or not isinstance(pid, int):
        return _age_s(path) < SILENT_S
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return holder.get("started") == _started(pid) and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False


def _age_s(path: Path) -> float:
    """Return how long ago a file was touched, by the clock of its file system: those of machines differ."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent) as now:
            return Path(now.name).stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)
