"""One feature vector from several views of a record, each read by its own encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.encoders.base import Encoder
from reconstruction.models.encoders.joining import columns
from reconstruction.shapes import Features


class Fusion(nn.Module):
    """Encoders side by side, one a view.

    concatenate: features of all branches one after the other.
    gated: each branch is projected to one width; a softmax over the branches, of each feature, weighs them.

    Args:
        encoders: an encoder for each view's name.
        mode: "gated" or "concatenate".
        width: width of the gated features (none: that of the widest branch).

    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        mode: Literal["gated", "concatenate"] = "gated",
        width: int | None = None,
    ) -> None:
        super().__init__()
        if not encoders:
            raise UserError("a fusion needs at least one encoder")
        if mode not in ("gated", "concatenate"):
            raise UserError(f"no fusion is called {mode!r}; choose 'gated' or 'concatenate'")
        self.encoders = nn.ModuleDict(encoders)
        self.mode = mode
        widths = [encoder.output_width for encoder in encoders.values()]
        self.output_width = sum(widths)
        if mode == "gated":
            self.output_width = width or max(widths)
            self.projections = nn.ModuleList(nn.Linear(one, self.output_width) for one in widths)
            self.gate = nn.Linear(sum(widths), self.output_width * len(widths))

    def forward(self, views: Mapping[str, Tensor], lengths: Mapping[str, Tensor] | None = None) -> Features:
        """Encode each view and fuse; `lengths` holds the lengths of the views that are padded."""
        missing = set(self.encoders) - set(views)
        if missing:
            raise UserError(f"the fusion reads the views {sorted(self.encoders)}, but {sorted(missing)} are missing")
        lengths = lengths or {}
        branches = [encoder(views[name], lengths.get(name)) for name, encoder in self.encoders.items()]
        return self.fuse(branches)

    def fuse(self, branches: list[Tensor]) -> Features:
        """Fuse the features of all branches, in the order of the encoders."""
        together = columns(branches)
        if self.mode == "concatenate":
            return together
        gates = self.gate(together).unflatten(-1, (len(branches), self.output_width)).softmax(dim=1)
        projected = [projection(branch) for projection, branch in zip(self.projections, branches, strict=True)]
        return (gates * torch.stack(projected, dim=1)).sum(dim=1)
