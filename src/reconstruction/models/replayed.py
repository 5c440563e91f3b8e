"""A function of tensors as a CUDA graph: a GPU replays in one launch what took hundreds."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Function = Callable[..., tuple[Tensor, ...]]

WITH_GRAPHS = "cuda"
"""Kind of device that has them."""

_LAYOUTS = 4
"""Shapes of arguments that are kept ready; a further one takes the place of that which was not used for longest."""
_WARMING = 3
"""Passes before a capture: plans of Fourier transforms and the like are made in them."""


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    given: tuple[Tensor, ...]
    made: tuple[Tensor, ...]
    places: tuple[int, ...]


class Replayed:
    """A function without gradients of tensors and of a module's weights, replayed on a GPU, called on a processor.

    The function must not let the host look at a number. Weights may change in place between calls; where they lie
    elsewhere it is captured anew. Returns tensors of their own.
    """

    def __init__(self, function: Function, module: nn.Module) -> None:
        self._function, self._module = function, module
        self._ready: OrderedDict[tuple[tuple[torch.Size, torch.dtype], ...], _Graph] = OrderedDict()
        self._failed = False

    @torch.no_grad()
    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return what the function returns; where a capture fails, a warning says so once and it is called."""
        if self._failed or values[0].device.type != WITH_GRAPHS:
            return self._function(*values)
        layout = tuple((value.shape, value.dtype) for value in values)
        ready = self._ready.pop(layout, None)
        if ready is None or ready.places != self._places():
            try:
                ready = self._capture(values)
            except RuntimeError as error:  # of torch or CUDA, by the kind of operation that cannot be captured
                self._failed = True
                say_not_captured("predictions", error, values[0].device)
                return self._function(*values)
        self._ready[layout] = ready
        while len(self._ready) > _LAYOUTS:
            self._ready.popitem(last=False)
        for given, value in zip(ready.given, values, strict=True):
            given.copy_(value)
        ready.graph.replay()
        return tuple(made.clone() for made in ready.made)

    def _capture(self, values: tuple[Tensor, ...]) -> _Graph:
        given = tuple(value.clone() for value in values)
        beside = torch.cuda.Stream(given[0].device)
        beside.wait_stream(torch.cuda.current_stream(given[0].device))
        with torch.cuda.stream(beside):
            for _ in range(_WARMING):
                self._function(*given)
        torch.cuda.current_stream(given[0].device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            made = self._function(*given)
        return _Graph(graph, given, made, self._places())

    def _places(self) -> tuple[int, ...]:
        return tuple(value.data_ptr() for value in (*self._module.parameters(), *self._module.buffers()))


def say_not_captured(what: str, error: RuntimeError, device: torch.device) -> None:
    """Warn that something is launched operation by operation, and leave the device fit for it."""
    _new_random_state(device)
    reason = str(error).partition("\n")[0] or type(error).__name__
    warnings.warn(f"{what} are not replayed as a CUDA graph, which is slower: {reason}", stacklevel=3)


def _new_random_state(device: torch.device) -> None:
    """Give the generator of a device a new state: a capture that failed has left its own waiting for the end of it."""
    fresh = torch.Generator(device)
    torch.cuda.default_generators[device.index or 0].graphsafe_set_state(fresh.graphsafe_get_state())
