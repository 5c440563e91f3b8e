"""Which devices and precisions a model can be run on and in: estimates need float64 beside the network."""

from __future__ import annotations

import os
import sys
from typing import Any

from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.accelerators import Accelerator, CUDAAccelerator, MPSAccelerator

from reconstruction.errors import UserError

ROUNDING = ("bf16-true", "16-true", "transformer-engine", "transformer-engine-float16")
"""Precisions that cast everything: an energy of 18 600 eV would be rounded to 64 eV (bf16) or 16 eV (float16)."""


def usable_accelerator(wanted: str | Accelerator) -> str | Accelerator:
    """Return the accelerator to use for the one wanted: `auto` means the processor where there is only MPS.

    Raises UserError where MPS, or a GPU that is not there, is asked for by name.
    """
    if wanted == "auto" and MPSAccelerator.is_available():
        rank_zero_only(print)(
            "on the processor: Apple's GPU (MPS) has no float64, which energies need", file=sys.stderr
        )
        return "cpu"
    if wanted == "mps" or (wanted == "gpu" and MPSAccelerator.is_available()):
        raise UserError("trainer.accelerator: Apple's GPU (MPS) has no float64, which energies need; use auto or cpu")
    if wanted in ("gpu", "cuda") and not CUDAAccelerator.is_available():
        raise UserError(
            f"trainer.accelerator={wanted}, but torch sees no GPU (driver, CUDA_VISIBLE_DEVICES, its build?): "
            "trainer.accelerator=auto takes the processor then"
        )
    return wanted


def require_exact(precision: Any) -> None:
    """Raise UserError for a precision that casts the targets and what was fitted on them, too."""
    if precision in ROUNDING:
        mixed = "16-mixed" if precision == "16-true" else "bf16-mixed"
        raise UserError(
            f"trainer.precision={precision} would round the targets themselves (an energy of 18 600 eV to many eV): "
            f"use {mixed}, which computes the network alone in half precision"
        )


STARTERS = (SLURMEnvironment, TorchElasticEnvironment, MPIEnvironment, LSFEnvironment)
"""What starts the processes of several nodes, as far as Lightning knows it."""


def require_nodes(count: int) -> None:
    """Raise UserError for several nodes that nobody starts: the first one would wait for the others for ever."""
    by_hand = {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys()
    if count > 1 and not by_hand and not any(starter.detect() for starter in STARTERS):
        raise UserError(
            f"trainer.num_nodes={count}, but nothing starts the program on the other nodes: use `sbatch submit.sh`, "
            "torchrun --nnodes, or start it on each with MASTER_ADDR and NODE_RANK set"
        )
