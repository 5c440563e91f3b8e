"""What a preparation may be asked for; light to import, so that a command line is read at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cres.errors import UserError

COMPRESSIONS: Final = ("none", "gzip", "lzf")

QUADRATURES: Final = ("analytic", "pairs")

MAX_EXPANSION: Final = 64.0
"""How many times its size on disk a file may unpack to. Records of noise-like float32 unpack to 1.1 times."""


@dataclass(frozen=True)
class StagingSettings:
    """What decides the content of a part. A part made with other settings is made again."""

    skip_bad: bool = False
    new_event_ids: bool = False
    max_expansion: float = MAX_EXPANSION
    volts_per_count: float | None = None
    """What one ADC count is, for files whose series are counts."""
    exchange_iq: bool = False
    """Take what a file calls Q for I, and I for Q."""
    window_samples: int | None = None
    """Samples of a window of a file that is one long record; None: those of its records, 8192 at most."""
    quadrature: str = "analytic"
    """How real samples become I and Q: of each channel its analytic signal, or channels in pairs."""


@dataclass(frozen=True)
class Assembly:
    """What the output looks like.

    shard_rows: None for one file, 0 for one shard a source, N for shards of N rows.
    plain: contiguous datasets without attributes, as other people's readers expect them.
    """

    shard_rows: int | None = None
    plain: bool = False
    compression: str = "none"
    sampling_rate_hz: float | None = None
    lo_frequency_hz: float | None = None

    def __post_init__(self) -> None:
        if self.plain and self.compression != "none":
            raise UserError("--plain files are contiguous, which HDF5 does not compress: leave out --compression")
