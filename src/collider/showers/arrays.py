"""One implementation for NumPy and torch: the few functions whose names differ, the others by their common name."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gammainc

from reconstruction.errors import UserError


class NumpyArrays:
    """NumPy in float64."""

    name = "numpy"

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def floats(self, values: Any) -> Any:
        """Return float64 values."""
        return np.asarray(values, dtype=np.float64)

    def integers(self, values: Any) -> Any:
        """Return int64 values."""
        return np.asarray(values, dtype=np.int64)

    def arange(self, stop: int) -> Any:
        """Return int64 from 0 on."""
        return np.arange(stop, dtype=np.int64)

    def repeat(self, values: Any, counts: Any) -> Any:
        """Return each value as often as it counts."""
        return np.repeat(values, counts)

    def shifted(self, bits: Any, places: int) -> Any:
        """Return 64 bits moved to the right, zeros coming in."""
        return (bits.view(np.uint64) >> np.uint64(places)).view(np.int64)

    def small_floats(self, values: Any) -> Any:
        """Return float32 of integers or floats."""
        return values.astype(np.float32)

    def whole(self, values: Any) -> Any:
        """Return int64 of floats, towards zero."""
        return values.astype(np.int64)

    def summed(self, places: Any, weights: Any, size: int) -> Any:
        """Return the weights summed at their places."""
        return np.bincount(places, weights, size)

    def gammainc(self, shape: Any, depth: Any) -> Any:
        """Return the regularised lower incomplete gamma function."""
        return gammainc(shape, depth)

    def bins(self, edges: Any, values: Any) -> Any:
        """Return the number of the bin of each value, −1 below the first edge and len(edges) − 1 above the last."""
        return np.searchsorted(edges, values, side="right") - 1

    def host(self, values: Any) -> Any:
        """Return a NumPy array."""
        return np.asarray(values)


class TorchArrays:
    """torch on a device, in float64 where it has it."""

    name = "torch"

    def __init__(self, device: str) -> None:
        import torch

        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device).tolist()  # meta has none
        except (RuntimeError, AssertionError) as error:  # no such word, or meta; torch built without
            first = str(error).partition("\n")[0]
            raise UserError(f"there is no device {device!r} here: {first}") from None
        self.torch: Any = torch
        self.dtype = torch.float32 if self.device.type == "mps" else torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch, name)

    def floats(self, values: Any) -> Any:
        """Return values in the largest floating type of the device."""
        return self.torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def integers(self, values: Any) -> Any:
        """Return int64 values."""
        return self.torch.as_tensor(values, dtype=self.torch.int64, device=self.device)

    def arange(self, stop: int) -> Any:
        """Return int64 from 0 on."""
        return self.torch.arange(int(stop), device=self.device)

    def repeat(self, values: Any, counts: Any) -> Any:
        """Return each value as often as it counts."""
        return self.torch.repeat_interleave(values, counts)

    def shifted(self, bits: Any, places: int) -> Any:
        """Return 64 bits moved to the right, zeros coming in."""
        return (bits >> places) & ((1 << (64 - places)) - 1)

    def small_floats(self, values: Any) -> Any:
        """Return float32 of integers or floats."""
        return values.to(self.torch.float32)

    def whole(self, values: Any) -> Any:
        """Return int64 of floats, towards zero."""
        return values.to(self.torch.int64)

    def summed(self, places: Any, weights: Any, size: int) -> Any:
        """Return the weights summed at their places."""
        sums = self.torch.zeros(size, dtype=self.dtype, device=self.device)
        return sums.index_add_(0, places, weights.to(self.dtype))

    def gammainc(self, shape: Any, depth: Any) -> Any:
        """Return the regularised lower incomplete gamma function."""
        return self.torch.special.gammainc(shape, depth)

    def bins(self, edges: Any, values: Any) -> Any:
        """Return the number of the bin of each value, −1 below the first edge and len(edges) − 1 above the last."""
        return self.torch.searchsorted(edges.to(values.dtype), values.contiguous(), right=True) - 1

    def host(self, values: Any) -> Any:
        """Return a NumPy array."""
        return values.cpu().numpy()


Arrays = NumpyArrays | TorchArrays
NUMPY = NumpyArrays()


def arrays_on(device: str) -> Arrays:
    """Return NumPy for "numpy" and torch for any of its devices. Raises UserError for a device that is not there."""
    return NUMPY if device == "numpy" else TorchArrays(device)
