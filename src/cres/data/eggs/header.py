"""The header of an egg file: what Monarch 3 says of streams, channels and acquisitions.

Egg v3 is HDF5: attributes at the root, a group `channels/channelN` and a group `streams/streamN` each, in the latter
`acquisitions/K`, one row a record. Project 8, Monarch, Documentation/EggStandard v3.0.0 to v3.2.0, and
Monarch3/M3Header, which names what the standard leaves out (`sample_size`, `data_format`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from cres.data.facts import plain_attributes
from cres.data.pickles import BadFileError

_INTERLEAVED: Final = 0
_LEFT_ALIGNED: Final = 0
_GROUPS: Final = ("streams", "channels")


@dataclass(frozen=True)
class Channel:
    """One digitiser channel: its band, and how its samples become volts.

    `gain_v` and `offset_v`: volts = gain · count + offset; floats are volts already (gain 1, offset 0).
    """

    number: int
    gain_v: float
    offset_v: float
    frequency_min_hz: float
    frequency_range_hz: float


@dataclass(frozen=True)
class Acquisition:
    """Records without a gap between them: a dataset of `records` rows, and when the first one began."""

    name: str
    records: int
    start_s: float


@dataclass(frozen=True)
class Stream:
    """Channels that were written together."""

    name: str
    rate_hz: float
    record_samples: int
    components: int
    """Numbers a sample: 2 for I and Q, 1 for a real voltage."""
    interleaved: bool
    shift: int
    """Bits by which the samples stand too far to the left."""
    channels: tuple[Channel, ...]
    acquisitions: tuple[Acquisition, ...]

    def oscillator_hz(self) -> float | None:
        """Return the frequency that was mixed to zero, or None where the header does not say the band.

        I and Q hold the band around it, a real voltage the band above it.
        """
        bands = {(channel.frequency_min_hz, channel.frequency_range_hz) for channel in self.channels}
        lowest_hz, width_hz = next(iter(bands))
        if len(bands) > 1 or not (lowest_hz > 0 or width_hz > 0):
            return None
        middle_hz = (width_hz or self.rate_hz) / 2 if self.components == 2 else 0.0
        oscillator_hz = lowest_hz + middle_hz
        return oscillator_hz if oscillator_hz > 0 else None


def is_egg(path: Path) -> bool:
    """Tell whether a file is to be read as an egg: by its name, or as HDF5 with streams and channels."""
    if path.suffix == ".egg":
        return True
    try:
        if not (path.is_file() and h5py.is_hdf5(path)):
            return False
        with h5py.File(path, "r", locking=False) as file:
            return all(name in file for name in _GROUPS)
    except OSError:
        return False


def read_streams(path: Path, file: h5py.File) -> list[Stream]:
    """Return the streams of an open egg file. Raises BadFileError where the header is not what the standard says."""
    for name in _GROUPS:
        if name not in file:
            raise BadFileError(f"{path} has no group {name!r}, so it is no egg file of version 3")
    names = sorted(file["streams"], key=_number)
    if not names:
        raise BadFileError(f"{path} holds no stream")
    return [_stream(path, file, name) for name in names]


def _number(name: str) -> int:
    digits = "".join(filter(str.isdigit, name))
    return int(digits) if digits else 0


class _Attributes:
    """Attributes of one group or dataset; what is missing or is no number is one sentence."""

    def __init__(self, path: Path, group: h5py.HLObject) -> None:
        self._where = f"{path}, {group.name}"
        self._values = plain_attributes(group.attrs)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number, or the default of what may be missing."""
        if name not in self._values:
            if default is None:
                raise BadFileError(f"{self._where} has no attribute {name}, which an egg file of version 3 has")
            return default
        try:
            (value,) = np.ravel(self._values[name]).astype(np.float64)
        except (TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise BadFileError(f"{self._where} says {name} = {str(self._values[name])[:40]}, which is no number")
        return float(value)

    def count(self, name: str, default: int | None = None) -> int:
        """Return a whole number above zero."""
        value = self.number(name, None if default is None else float(default))
        if value < 1 or value != int(value):
            raise BadFileError(f"{self._where} says {name} = {value:g}; a number of 1 or more is expected")
        return int(value)

    def numbers(self, name: str, default: list[int]) -> list[int]:
        """Return a list of whole numbers."""
        return [int(value) for value in np.ravel(self._values.get(name, default))]


def _stream(path: Path, file: h5py.File, name: str) -> Stream:
    group = file["streams"][name]
    header = _Attributes(path, group)
    if "acquisitions" not in group:
        raise BadFileError(f"{path}, {group.name} has no acquisitions; was the run ended before it was written?")
    channels = header.count("n_channels", 1)
    record_samples = header.count("record_size")
    kept = sorted(group["acquisitions"], key=_number)
    if not kept:
        raise BadFileError(f"{path}, {group.name} has no acquisitions; was the run ended before it was written?")
    first = group["acquisitions"][kept[0]]
    components = _components(path, header, first, channels * record_samples)
    word_bits = 8 * first.dtype.itemsize
    depth = header.count("bit_depth", word_bits)
    left = header.number("bit_alignment", 1.0) == _LEFT_ALIGNED and depth < word_bits
    _require_type(path, header, first)
    numbers = header.numbers("channels", list(range(channels)))
    if len(numbers) != channels:
        raise BadFileError(f"{path}, {group.name} names {len(numbers)} channels and says n_channels = {channels}")
    return Stream(
        name,
        1e6 * header.number("acquisition_rate"),
        record_samples,
        components,
        header.number("channel_format", 1.0) == _INTERLEAVED,
        word_bits - depth if left and first.dtype.kind in "iu" else 0,
        tuple(_channel(path, file, number, first.dtype, depth) for number in numbers),
        tuple(_acquisition(path, group["acquisitions"][key], channels * record_samples * components) for key in kept),
    )


def _components(path: Path, header: _Attributes, first: h5py.Dataset, samples: int) -> int:
    """Return how many numbers a sample has: as stated, or as the width of the data shows."""
    width = int(np.prod(first.shape[1:], dtype=np.int64))
    components = header.count("sample_size", max(1, width // samples))
    if components not in (1, 2):
        raise BadFileError(f"{path}, {first.name}: samples of {components} numbers; 1 (real) or 2 (I and Q) are read")
    return components


def _require_type(path: Path, header: _Attributes, first: h5py.Dataset) -> None:
    """Raise BadFileError where the samples are not what the header says; older standards say only digitised or not."""
    kind = first.dtype.kind
    if kind not in "iuf":
        raise BadFileError(f"{path}, {first.name} holds {first.dtype}; numbers are expected")
    stated = int(header.number("data_format", {"u": 0.0, "i": 1.0, "f": 2.0}[kind]))
    if stated in (0, 1, 2) and "uif"[stated] != kind:
        words = ("unsigned", "signed", "analog")[stated]
        raise BadFileError(f"{path}, {first.name} holds {first.dtype}, its header says {words} samples")


def _channel(path: Path, file: h5py.File, number: int, dtype: np.dtype[Any], depth: int) -> Channel:
    name = f"channel{number}"
    if name not in file["channels"]:
        raise BadFileError(f"{path} has no header of {name}, which a stream names")
    header = _Attributes(path, file["channels"][name])
    gain_v, offset_v = (1.0, 0.0) if dtype.kind == "f" else _scale(path, name, header, depth)
    return Channel(number, gain_v, offset_v, header.number("frequency_min", 0.0), header.number("frequency_range", 0.0))


def _scale(path: Path, name: str, header: _Attributes, depth: int) -> tuple[float, float]:
    """Return volts a count, and the volts of the count 0.

    The gain is the range over the number of counts; a gain of 0 or 1 beside a range was never set.
    """
    gain_v, range_v = header.number("dac_gain", 0.0), header.number("voltage_range", 0.0)
    if range_v > 0 and gain_v in (0.0, 1.0):
        gain_v = range_v / 2**depth
    if gain_v <= 0:
        raise BadFileError(f"{path}, {name} states neither voltage_range nor dac_gain, so its counts are no volts")
    return gain_v, header.number("voltage_offset", 0.0)


def _acquisition(path: Path, data: h5py.Dataset, width: int) -> Acquisition:
    if int(np.prod(data.shape[1:], dtype=np.int64)) != width:
        raise BadFileError(
            f"{path}, {data.name} holds {data.shape[1:]} numbers a record, its header says {width} "
            "(record_size × n_channels × sample_size)"
        )
    header = _Attributes(path, data)
    records = int(header.number("n_records", float(data.shape[0])))
    if records > data.shape[0]:
        raise BadFileError(f"{path}, {data.name} says {records} records and holds {data.shape[0]}: it was cut")
    return Acquisition(data.name.rsplit("/", 1)[-1], records, 1e-9 * header.number("first_rec_time", 0.0))
