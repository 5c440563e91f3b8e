"""Scripts as a shell runs them, without the seconds that their imports take: in a forked child of the tests' process.

What is printed, warnings included, and the exit code are those of a process of its own, with one difference: the
checks of shapes and types that the tests put around every function are there, too. Where a start of its own is what a
test is about (imports, several processes of one training), it uses `programs`.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from multiprocessing import forkserver
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, NoReturn

import torch
from programs import plain_environment

from cres.commands.memory import MALLOC


def run_forked(
    script: Path, *words: object, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run a script in a folder (this one), and wait until it has ended."""
    command = [str(script), *map(str, words)]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if child == 0:
            _become(command, folder or Path.cwd(), environment or {}, said, told)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        said.seek(0)
        told.seek(0)
        return CompletedProcess(command, code, said.read(), told.read())


@contextlib.contextmanager
def child_within(make: Callable[[], AbstractContextManager[object]]) -> Iterator[int]:
    """Give the id of a child that stays within a context until it is killed, at the end of this one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _forget_the_tests()
            with make():
                os.write(writer, b"within")
                time.sleep(600)
        os._exit(1)
    os.close(writer)
    try:
        said = os.read(reader, 6)
        assert said == b"within", "the child could not enter"
        yield child
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _become(command: list[str], folder: Path, environment: Mapping[str, str], said: IO[str], told: IO[str]) -> NoReturn:
    """Be a fresh process that runs a script; ends without the destructors of the tests' process."""
    code: object = 1
    try:
        os.setsid()
        _take_streams(said, told)
        _forget_the_tests()
        there = {**plain_environment(), **MALLOC, **environment}
        os.environ.clear()
        os.environ.update(there)
        os.chdir(folder)
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _take_streams(said: IO[str], told: IO[str]) -> None:
    os.dup2(said.fileno(), 1)
    os.dup2(told.fileno(), 2)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode, closefd=False) for n, mode in enumerate("rww"))


def _forget_the_tests() -> None:
    """Warn and heed signals as a fresh interpreter does, on one thread: the others stayed behind, as did workers."""
    torch.set_num_threads(1)
    forkserver._forkserver.__init__()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)
    warnings.showwarning = lambda message, category, filename, line, file=None, text=None: sys.stderr.write(
        warnings.formatwarning(message, category, filename, line, text)
    )
