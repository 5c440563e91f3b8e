"""Layers of encoders that torch.compile makes faster."""

from __future__ import annotations

import os
import shutil

from reconstruction.errors import UserError
from reconstruction.models import Encoder
from reconstruction.training.network.reconstructor import Reconstructor


def compile_encoders(reconstructor: Reconstructor, device_type: str, mode: str) -> None:
    """Compile each layer of the encoders where it stands. Raises UserError where a processor needs a compiler."""
    compiler = os.environ.get("CXX", "g++")
    if device_type == "cpu" and shutil.which(compiler) is None:
        raise UserError(f"model.compile_encoders needs a C++ compiler, but there is no {compiler}: install it")
    for encoder in reconstructor.fusion.encoders.values():
        assert isinstance(encoder, Encoder)
        for layer in encoder.layers:
            layer.compile(mode=mode)
