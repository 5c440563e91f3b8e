"""Programs that tests start: ended as whole groups, asked where they are when they hang, and never left behind.

What a test waits for is measured in the processor time that its programs get, not by the clock on the wall: where the
cores are busy elsewhere, two interpreters that import torch need minutes for their ten seconds of work, and a limit on
the wall then ends what does nothing wrong. A program hangs when it stays without processor time though it lives.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
QUIET_S = 120.0
"""Programs hang that got less than a second of processor time in so long; one that only polls a file gets less."""
AFTER_A_DEATH_S = 20.0
"""The same when one of several programs has ended with an error: the others should end by themselves."""
MOST_PROCESSOR_S = 240.0
"""More than this is an endless loop."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it printed, errors included."""

    code: int
    said: str


def run_programs(
    *commands: Sequence[object],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    quiet_s: float = QUIET_S,
    most_processor_s: float = MOST_PROCESSOR_S,
) -> list[Ended]:
    """Run programs at once until all have ended. Raises AssertionError with their stacks when they hang."""
    # a file, not a pipe: a program whose pipe is full waits for its reader, and another one may wait for it
    files = [folder / f"said.{number}" for number in range(len(commands))]
    programs: list[subprocess.Popen[bytes]] = []
    try:
        programs += [_start(command, file, environment) for command, file in zip(commands, files, strict=True)]
        wrong = _watch(programs, quiet_s, most_processor_s)
        if wrong:
            _ask_where(programs)
        else:
            _let_the_others_end({program.pid for program in programs})
    finally:
        for program in programs:
            _end(program)
    said = [file.read_text(errors="replace") for file in files]
    assert not wrong, "\n".join([wrong, *said])
    return [Ended(program.returncode, text) for program, text in zip(programs, said, strict=True)]


def run_program(
    command: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None, **limits: float
) -> Ended:
    """Run one program until it and what it started have ended."""
    return run_programs(command, folder=folder, environment=environment, **limits)[0]


def plain_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without a cluster and without servers, for programs on a single thread."""
    others = ("SLURM", "WANDB", "MASTER_", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "PL_")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    # the host's name need not be known to any resolver
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform.startswith("linux") else {}
    return {**plain, **loopback, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", **more}


def _start(command: Sequence[object], file: Path, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    known = plain_environment() if environment is None else environment
    with file.open("wb") as stream:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**known, "PYTHONFAULTHANDLER": "1"},
            start_new_session=True,
        )


def _watch(programs: Sequence[subprocess.Popen[bytes]], quiet_s: float, most_processor_s: float) -> str:
    """Wait until all have ended; returns what is wrong when they do not, else nothing."""
    groups = {program.pid for program in programs}
    before, since = 0.0, time.monotonic()
    while None in [program.poll() for program in programs]:
        time.sleep(0.1)
        used = processor_s(groups)
        if not before <= used < before + 1:  # one that has ended no longer counts
            before, since = used, time.monotonic()
        died = [program.returncode for program in programs if program.returncode]
        quiet = min(quiet_s, AFTER_A_DEATH_S) if died else quiet_s
        if time.monotonic() - since > quiet:
            return f"hangs: {time.monotonic() - since:.0f} s without work" + (
                f" after exit code {died[0]}" if died else ""
            )
        if used > most_processor_s:
            return f"does not end: {used:.0f} s of processor time"
    return ""


def _let_the_others_end(sessions: set[int]) -> None:
    """Give what the programs have started a moment to say its last word."""
    give_up = time.monotonic() + AFTER_A_DEATH_S
    while _lives(sessions) and time.monotonic() < give_up:
        time.sleep(0.1)


def _lives(sessions: set[int]) -> bool:
    """Return whether a process of some sessions is there that has not ended."""
    return any(int(fields[3]) in sessions and fields[0] not in "ZX" for _, fields in processes())


def processor_s(sessions: set[int]) -> float:
    """Return the processor time of all processes of some sessions, in s; without a /proc, the time."""
    if not Path("/proc/self/stat").exists():
        return time.monotonic()
    return sum(used_s(fields) for _, fields in processes() if int(fields[3]) in sessions)


def used_s(fields: list[str]) -> float:
    """Return the processor time of a process in s: user and system, and that of children that have ended."""
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def processes() -> Iterator[tuple[int, list[str]]]:
    """Yield each process and what the system says of it, behind its name; nothing without a /proc."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield int(file.parent.name), file.read_text().rpartition(")")[2].split()


def _ask_where(programs: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let every process print the stacks of its threads and end: faulthandler does so on this signal.

    One after the other: what two of them print at once into one file nobody can read.
    """
    for program in programs:
        for process in _members(program) if program.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGABRT)
            ended = time.monotonic() + 2
            while _runs(process) and time.monotonic() < ended:
                time.sleep(0.02)
    give_up = time.monotonic() + 10
    while None in [program.poll() for program in programs] and time.monotonic() < give_up:
        time.sleep(0.05)


def _members(program: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes of a program's group, what it started before itself; it alone without a /proc."""
    members = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if int(file.read_text().rpartition(")")[2].split()[2]) == program.pid:
                members.append(int(file.parent.name))
    return sorted({*members, program.pid}, key=lambda process: process == program.pid)


def _runs(process: int) -> bool:
    """Whether a process is there that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _end(program: subprocess.Popen[bytes]) -> None:
    """End what is left of a program's group, and let go of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
