"""Small encoders of every kind, that the contract is asked of."""

from __future__ import annotations

from collections.abc import Callable

from reconstruction.models import ConformerEncoder, ConvNetEncoder, Encoder, LinOSSEncoder, LSTMEncoder, S4DEncoder
from reconstruction.models.encoders.pooling import PoolingName

Maker = Callable[[int, PoolingName], Encoder]

ENCODERS: dict[str, Maker] = {
    "s4d": lambda channels, pooling: S4DEncoder(channels, 8, 4, 2, pooling=pooling),
    "s4d_causal": lambda channels, pooling: S4DEncoder(channels, 8, 4, 2, bidirectional=False, pooling=pooling),
    "s4d_postnorm": lambda channels, pooling: S4DEncoder(
        channels, 8, 4, 2, prenorm=False, mixing="linear", initialisation="inv", pooling=pooling
    ),
    "s4d_strided": lambda channels, pooling: S4DEncoder(
        channels, 8, 4, 2, stride=3, downsample=(2, 1), initialisation="random", pooling=pooling
    ),
    "linoss": lambda channels, pooling: LinOSSEncoder(channels, 8, 6, 2, pooling=pooling),
    "linoss_imex": lambda channels, pooling: LinOSSEncoder(
        channels, 8, 6, 1, discretisation="imex", bidirectional=False, stride=3, pooling=pooling
    ),
    "lstm": lambda channels, pooling: LSTMEncoder(channels, 8, 2, stride=4, pooling=pooling),
    "lstm_causal": lambda channels, pooling: LSTMEncoder(
        channels, 8, 1, bidirectional=False, stride=1, pooling=pooling
    ),
    "convnet": lambda channels, pooling: ConvNetEncoder(
        channels, 8, kernel_size=3, stride=2, downsample=(1, 2), pooling=pooling
    ),
    "conformer": lambda channels, pooling: ConformerEncoder(
        channels, 8, 2, heads=2, kernel_size=5, expansion=2, stride=2, pooling=pooling
    ),
}
