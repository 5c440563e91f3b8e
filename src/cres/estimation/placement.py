"""Where estimators run: the choice of a device, and the way back to the host."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cres.errors import UserError

AUTO = "auto"


def choose_device(wanted: str = AUTO) -> torch.device:
    """Return the device for a name of torch's; `auto` is the GPU where torch can use one, else the processor.

    Raises UserError for devices that are not there, and for Apple's GPU, which has no float64.
    """
    if wanted == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UserError(f"there is no device {wanted!r}: use auto, cpu, cuda or cuda:NUMBER") from error
    if device.type == "meta":
        raise UserError("a device of the kind meta holds no numbers: use auto, cpu, cuda or cuda:NUMBER")
    if device.type == "mps":
        raise UserError("Apple's GPU (mps) has no float64, which energies need: use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"torch sees no device {wanted!r} (driver, CUDA_VISIBLE_DEVICES, its build?): auto takes the processor then"
        )
    return device


def device_name(text: str) -> str:
    """Return the name of a device that is there, as an option of a command reads it."""
    try:
        choose_device(text)
    except UserError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def on_host(values: Tensor) -> NDArray[Any]:
    """Return values of any device as an array."""
    return values.detach().cpu().numpy()
