"""What a step costs a device beside its arithmetic: operations dispatched, waits of the host, bytes moved.

All of it can be counted on a processor, where an operation is as cheap as its numbers: on a GPU each is a launch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = ("_local_scalar_dense", "item", "equal", "nonzero", "is_nonzero", "masked_select", "unique", "_unique2")
"""Operations whose result decides something on the host, or whose size does."""

MARKS = ("_record_function_enter_new", "_record_function_exit")
"""What optimisers leave for a profiler: nothing is done."""


class OperationCount(TorchDispatchMode):
    """Count what is dispatched while it is entered: `operations`, `host_waits`, `bytes_moved`, and each `by_name`.

    Views count as operations (they cost the host's time) but move nothing. Bytes are those of the tensors that an
    operation reads and writes, as if no cache kept any. What NumPy does, and copies to the host, are not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.host_waits = 0
        self.bytes_moved = 0

    @property
    def operations(self) -> int:
        """How many were dispatched."""
        return self.by_name.total()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count one operation and run it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in MARKS:
            return result
        self.by_name[name] += 1
        self.host_waits += name in WAITS
        if not func.is_view:
            self.bytes_moved += _bytes((args, kwargs)) + _bytes(result)
        return result

    def __enter__(self) -> OperationCount:
        """Begin to count."""
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End counting."""
        super().__exit__(kind, value, traceback)


def _bytes(parts: Any) -> int:
    tensors = {id(part): part for part in tree_leaves(parts) if isinstance(part, Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def saved_bytes(step: Any) -> int:
    """Return the bytes that a forward pass, `step()`, keeps for its backward pass, each storage once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = step()  # the result keeps the storages alive while they are counted
    del kept
    return sum(storages.values())
