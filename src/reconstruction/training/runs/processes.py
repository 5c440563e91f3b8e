"""The end of a process that trained together with others."""

from __future__ import annotations

import gc

import torch.distributed
from torch.nn.parallel import DistributedDataParallel


def let_go_of_gradients() -> None:
    """Free what joins the gradients of several processes while their group is held elsewhere, whoever else holds it.

    Who lets go of the group last ends the threads of gloo and waits for them. Python does so without the interpreter's
    lock, the destructor of DDP's reducer (torch 2.13) with it; such a thread may still want that lock to let go
    of its last work, where cores are busy, and then both wait for ever. A wrapper outlives its training where the
    traceback of an error holds it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    for one in gc.get_objects():
        # not isinstance: it would ask proxies for what they stand for
        if issubclass(type(one), DistributedDataParallel):
            one.__dict__.update(reducer=None, logger=None)
