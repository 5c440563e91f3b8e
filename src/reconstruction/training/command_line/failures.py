"""What libraries and the system report in the middle of a training, in one sentence that says what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from lightning.fabric.utilities.exceptions import MisconfigurationException

from reconstruction.errors import UserError
from reconstruction.records.reading_ahead import SHARED_MEMORY, too_few_files
from reconstruction.training.learning.batch_finder import is_out_of_memory

OUT_OF_MEMORY = (
    "out of memory: lower data.batch_size and raise trainer.accumulate_grad_batches by the same factor (the same "
    "training in smaller pieces), or set trainer.precision=bf16-mixed, or narrow the encoder"
)
NO_LOCKS = (
    "the file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE in the environment, or write to another file system"
)
WORKER_ENDED = (
    "a process that reads ahead (data.workers) was ended from outside, as when memory runs out: lower data.workers or "
    "data.batch_size"
)
OTHER_PROCESS = (
    "another process of this training has ended, and this one with it: what that one said is the reason; go on with "
    "the same command and --resume"
)

_FEW_FILES = rf"too many open files|items of ancdata|exit code ({errno.EMFILE}|{errno.ENFILE})\b"
_BY_TEXT = (
    # before workers: a full shared memory ends one by a bus error, or by its own hand
    (
        rf"bus error|shared memory|unable to \w+.*(/dev/shm|torch_)|DataLoader.*exit code {errno.ENOSPC}\b",
        SHARED_MEMORY,
    ),
    (r"no locks available", NO_LOCKS),
    (r"DataLoader worker \(pid.*(exited unexpectedly|killed by signal)", WORKER_ENDED),
    (r"connection (closed|reset) by peer|gloo/transport|NCCL|ProcessGroup", OTHER_PROCESS),
)
_FROM_WORKER = re.compile(r"Caught \w+ in DataLoader worker process.*UserError: (?P<sentence>.*)", re.DOTALL)
_SIZE = r"[^\n]*?torch\.Size\((\[[^\]]*\])\)"
_SHAPE = re.compile(rf"size mismatch for ([\w.]+){_SIZE}{_SIZE}")


def sentence(error: BaseException) -> str | None:
    """Return what a user is told of an error that a library raised, or None where it is a fault of the program."""
    for one in chain(error):
        found = _of_one(one)
        if found is not None:
            return found
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_one(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, UserError):
        found = _FROM_WORKER.search(text)
        return found["sentence"].strip() if found else text
    if isinstance(error, MisconfigurationException):
        return f"the trainer does not take its options: {plain(text)}"
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return too_few_files()
    if isinstance(error, OSError) and error.errno == errno.ENOLCK:
        return NO_LOCKS
    if not isinstance(error, RuntimeError | OSError | ConnectionError):
        return None
    if re.search(_FEW_FILES, text, re.IGNORECASE):
        return too_few_files()
    for pattern, said in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            return said
    if "loading state_dict" in text:
        return _other_shape(text)
    return None


def _other_shape(text: str) -> str:
    found = _SHAPE.search(text)
    what = f": {found[1]} is {found[2]} in it and {found[3]} now" if found else ""
    return f"the checkpoint is of another model{what}; train anew in another folder (--run), or give the old options"


def plain(text: str) -> str:
    """Return a library's message on one line, without markup."""
    return " ".join(text.replace("`", "").split())
