"""Long records through a causal model piece by piece: state is carried, and memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cres.data.tracks import Pieces
from cres.errors import UserError
from cres.transforms import KeyedRandom, Place, RandomChain
from reconstruction.models import S4DEncoder
from reconstruction.shapes import Series
from reconstruction.training.network.reconstructor import Reconstructor

_INSTEAD = "use --windows, or train a causal S4D on the time series (docs/howto/long_tracks.md)"


def noisy_pieces(
    pieces: Pieces, random: KeyedRandom, noise: RandomChain, receiver: RandomChain, scale: float, dtype: torch.dtype
) -> Iterator[Series]:
    """Yield the pieces of a batch of records with noise, (row, time, 2) volts: those of the whole noisy records."""
    for start, read in pieces.read():
        volts = read.to(random.device, dtype)
        place = Place(start, pieces.total)
        if scale:
            volts = receiver.piece(noise.piece(volts, random, place, scale), random.scoped("receiver"), place, scale)
        yield volts


def require_piecewise(model: Reconstructor, samples: int) -> None:
    """Raise UserError where a model needs whole records, or pieces of another length than so many samples."""
    if model.condition is not None:
        raise UserError(f"the model is told settings of whole records, so --chunk cannot feed it: {_INSTEAD}")
    if model.landmark is not None:
        raise UserError(f"the model looks for a landmark in the whole record, so --chunk cannot feed it: {_INSTEAD}")
    if model.sheet is not None:
        raise UserError(f"the model's sheet follows scalars of the whole record, so --chunk cannot feed it: {_INSTEAD}")
    for name, view in model.views.items():
        if not view.piecewise or view.scalar_count:
            kind = type(view).__name__
            raise UserError(f"the view {name!r} ({kind}) is made of the whole record, not of chunks: {_INSTEAD}")
    for name, encoder in model.fusion.encoders.items():
        if not isinstance(encoder, S4DEncoder) or not encoder.causal:
            kind = type(encoder).__name__
            raise UserError(f"the encoder {name!r} ({kind}) reads the whole record, not chunks: {_INSTEAD}")
        if samples < 1 or samples % encoder.stride:
            raise UserError(f"--chunk must be a multiple of {encoder.stride}, the stride of the encoder {name!r}")


def require_piecewise_noise(noise: RandomChain, receiver: RandomChain) -> None:
    """Raise UserError where noise is not known piece by piece."""
    try:
        noise.require_piecewise()
        receiver.require_piecewise()
    except UserError as error:
        raise UserError(
            f"{error}: use --windows, or records that hold their noise with `predict --noise_scale=0`"
        ) from error
