"""Records one by one, as they arrive: a trained model without the checks and tables around it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from cres.errors import UserError
from reconstruction.models.replayed import Replayed

if TYPE_CHECKING:
    from reconstruction.training.learning.learner import Learner

Array = NDArray[Any]


class Online:
    """Estimates and error bars of records as they arrive; on a GPU each shape of them is captured once and replayed.

    It says what `Model` says of them and leaves out all checks, flags and the rest of the posterior.
    """

    def __init__(self, module: Learner, device: torch.device) -> None:
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UserError("torch sees no GPU here: online('cpu') uses the processor")
        # a copy: the model goes on where it is
        self.module = copy.deepcopy(module).to(device).eval()
        self.device = device
        self._said = Replayed(self._say, self.module)

    def __call__(self, volts: Array | torch.Tensor) -> tuple[Array, Array]:
        """Return estimates and error bars, (rows, target) each, of volts (rows, samples, 2). Raises UserError."""
        given = torch.as_tensor(volts)
        if given.ndim != 3 or given.shape[-1] != 2 or not given.numel() or given.is_complex():
            raise UserError(f"volts have the shape {tuple(given.shape)}; (records, samples, 2) real are read online")
        estimate, error_bar = self._said(given.to(self.device, torch.float32))
        return estimate.cpu().numpy(), error_bar.cpu().numpy()

    def _say(self, volts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        said = self.module(volts)
        return said.estimate, said.error_bar
