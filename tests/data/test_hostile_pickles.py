"""Pickles made to run something, or to fill the memory: each is refused in one sentence, and nothing happened."""

from __future__ import annotations

import gzip
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cres.data.pickles.frames import VOCABULARY
from cres.data.pickles.source import read_source
from cres.errors import UserError


class Calls:
    """An object whose pickle calls something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def global_(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def touch(path: Path) -> bytes:
    return b"V" + str(path).encode() + b"\n"


# Each entry: a pickle that would make the file `mark`, or reach further, and the words that name what it used.
def attacks(mark: Path) -> dict[str, tuple[bytes, str]]:
    command = b"Vtouch " + str(mark).encode() + b"\n"
    run = b"(" + command + b"tR."
    short = lambda text: b"\x8c" + bytes([len(text)]) + text  # noqa: E731
    return {
        "os.system, protocol 0": (global_("os", "system") + run, "names os.system"),
        "posix.system": (global_("posix", "system") + run, "names posix.system"),
        "builtins.eval": (global_("builtins", "eval") + b"(V1+1\ntR.", "names builtins.eval"),
        "__builtin__.exec": (global_("__builtin__", "exec") + b"(Vpass\ntR.", "names __builtin__.exec"),
        "builtins.getattr": (global_("builtins", "getattr") + b".", "names builtins.getattr"),
        "builtins.__import__": (global_("builtins", "__import__") + b"(Vos\ntR.", "names builtins.__import__"),
        "numpy that runs": (
            global_("numpy.testing._private.utils", "runstring") + run,
            "names numpy.testing._private.utils.runstring",
        ),
        "numpy.load": (global_("numpy", "load") + run, "names numpy.load"),
        "numpy.fromfile": (global_("numpy", "fromfile") + run, "names numpy.fromfile"),
        "numpy.core prefix": (global_("numpy.core.multiarray", "fromfile") + run, "names numpy.core.multiarray.from"),
        "pandas.read_pickle": (global_("pandas", "read_pickle") + run, "names pandas.read_pickle"),
        "pandas.eval": (global_("pandas", "eval") + run, "names pandas.eval"),
        "pandas.core.frame submodule": (global_("pandas.core.frame", "lib") + run, "names pandas.core.frame.lib"),
        "dotted name": (
            b"\x80\x04" + short(b"pandas") + short(b"io.common.os.system") + b"\x93" + run,
            "names pandas.io.common.os.system",
        ),
        "dotted DataFrame": (
            b"\x80\x04" + short(b"pandas.core.frame") + short(b"DataFrame.to_pickle") + b"\x93" + run,
            "names pandas.core.frame.DataFrame.to_pickle",
        ),
        "name through the memo": (
            b"\x80\x04" + short(b"os") + b"\x94" + short(b"system") + b"\x94" + b"h\x00h\x01\x93" + run,
            "names os.system",
        ),
        "name overwritten in the memo": (
            b"\x80\x04"
            + short(b"numpy")
            + b"q\x05"
            + short(b"os")
            + b"q\x05"
            + b"h\x05"
            + short(b"system")
            + b"\x93"
            + run,
            "names os.system",
        ),
        "name of another type": (b"\x80\x04K\x01K\x02\x93.", "by what is no text"),
        "nested reducers": (
            global_("numpy", "dtype") + b"(" + global_("os", "system") + b"(" + command + b"tRtR.",
            "names os.system",
        ),
        "extension opcode": (b"\x80\x02\x82\x01.", "opcode EXT1"),
        "extension opcode 4": (b"\x80\x02\x84\x01\x00\x00\x00.", "opcode EXT4"),
        "persistent identity": (b"Pfile\n.", "opcode PERSID"),
        "binary persistent identity": (b"\x80\x02K\x01Q.", "opcode BINPERSID"),
        "old-style instance": (b"(" + command + b"ios\nsystem\n.", "opcode INST"),
        "old-style object": (b"(" + global_("numpy", "dtype") + b"o.", "opcode OBJ"),
        "out-of-band buffer": (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        "state of a function": (global_("numpy", "dtype") + b"}b.", "sets the state of numpy.dtype"),
        "call of a class that may only be named": (global_("numpy", "ndarray") + b"(tR.", "may only be named"),
        "call of a number": (b"K\x01)R.", "calls a value of type int"),
        "items of an array": (
            global_("numpy.core.multiarray", "_reconstruct")
            + b"("
            + global_("numpy", "ndarray")
            + b"(K\x00tC\x01btRK\x00K\x01s.",
            "sets items of",
        ),
        "array that is born large": (
            global_("numpy.core.multiarray", "_reconstruct")
            + b"("
            + global_("numpy", "ndarray")
            + b"(J\x00\x00\x00\x40tC\x01btR.",
            "array that is not empty",
        ),
        "ndarray subclass": (
            global_("numpy.core.multiarray", "_reconstruct")
            + b"("
            + global_("pandas", "DataFrame")
            + b"(K\x00tC\x01btR.",
            "array that is not empty",
        ),
        "tuple as a key": (b"}(K\x01K\x02tK\x03s.", "uses a value of type tuple as a key"),
        "two pickles": (b"N.N.", "bytes follow its end"),
        "no end": (b"N", "damaged"),
        "stack underflow": (b"R.", "damaged"),
        "mark left": (b"(.", "does not end with one object"),
        "memo of nothing": (b"h\x07.", "damaged"),
        "not a pickle": (b"\xff\xfe\xfd", "damaged"),
    }


NAMES = sorted(attacks(Path("mark")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packed", [True, False])
def test_nothing_runs_and_one_sentence_names_it(tmp_path, name, packed):
    mark = tmp_path / "mark"
    content, words = attacks(mark)[name]
    path = tmp_path / ("a.pkl.gz" if packed else "a.pkl")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError) as raised:
        read_source(path)
    assert words in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not mark.exists()


def test_the_attacks_are_real(tmp_path):
    """The same bytes do run in an ordinary unpickler."""
    mark = tmp_path / "mark"
    pickle.loads(attacks(mark)["name overwritten in the memo"][0])
    assert mark.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_cell_in_a_good_frame(tmp_path, protocol):
    mark = tmp_path / "mark"
    frame = pd.DataFrame({"energy_eV": [1.0, 2.0], "x": [Calls(mark.touch), 1]})
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(frame, protocol=protocol))
    with pytest.raises(UserError, match=r"it names (pathlib|_codecs|builtins|__builtin__)"):
        read_source(tmp_path / "a.pkl")
    assert not mark.exists()


def array_bytes(content: bytes, shape: bytes) -> bytes:
    """Return the pickle of a float64 array that declares `shape` and holds `content`."""
    dtype = global_("numpy", "dtype") + b"(Vf8\ntR(K\x03V<\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = global_("numpy.core.multiarray", "_reconstruct") + b"(" + global_("numpy", "ndarray") + b"(K\x00tC\x01btR"
    return start + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"


def long_int(number: int) -> bytes:
    raw = pickle.encode_long(number)
    return b"\x8a" + bytes([len(raw)]) + raw


def bombs() -> dict[str, bytes]:
    huge = long_int(10**12)
    megabyte = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20)
    many = 600_000
    strings = b"(" + b"N" * (1 << 16) + b"l"
    objects = array_bytes(b"h\x09", b"(J\x00\x00\x01\x00t").replace(b"Vf8\n", b"VO8\n")
    return {
        "declared array": b"}Va\n" + array_bytes(b"C\x08" + bytes(8), b"(" + huge + b"t") + b"s.",
        "negative shape": b"}Va\n" + array_bytes(b"C\x08" + bytes(8), b"(J\xff\xff\xff\xfft") + b"s.",
        "declared bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"x.",
        "declared text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
        "declared frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "memo index": b"Nr\xff\xff\xff\xff.",
        "many small objects": b"(" + b"]" * many + b"l.",
        "nested tuples": b"N" + b"\x85" * many + b".",
        "one array in many cells": (
            b"}Va\n(" + array_bytes(megabyte, b"(J\x00\x00\x02\x00t") + b"q\x01" + b"h\x01" * 200_000 + b"ls."
        ),
        "one list in many arrays": strings + b"q\x09(" + objects * 20_000 + b"l.",
        "one text encoded again and again": (
            b"\x80\x02X"
            + struct.pack("<I", 1 << 20)
            + b"a" * (1 << 20)
            + b"q\x01("
            + (global_("_codecs", "encode") + b"h\x01\x85R") * 50_000
            + b"l."
        ),
        "shared lists within lists": b"(K\x01lq\x010" + b"(h\x01h\x01lq\x010" * 60 + b"}Va\nh\x01s.",
        "digits": b"I" + b"9" * 100_000 + b"\n.",
    }


READ_AND_MEASURE = """
import resource, sys
from pathlib import Path
from cres.data.pickles.frames import VOCABULARY
from cres.data.pickles.source import read_source
from cres.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_source(Path(path))
        print(path, "was not refused")
    except UserError as error:
        if "\\n" in str(error):
            print(path, "took several lines")
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print("done" if grown < 400 else f"took {grown:.0f} MB")
"""


def test_memory_stays_bounded(tmp_path):
    """In a process of its own, as in production: no type checks that would look into each object."""
    gzip_bomb = tmp_path / "bomb.pkl.gz"
    gzip_bomb.write_bytes(gzip.compress(pickle.dumps({"a": np.zeros(40_000_000)}), 1))
    paths = [gzip_bomb]
    for number, (name, content) in enumerate(bombs().items()):
        paths.append(tmp_path / f"{number}_{name.replace(' ', '_')}.pkl")
        paths[-1].write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, *map(str, paths)], capture_output=True, text=True, timeout=200
    )
    assert run.stdout.split("\n") == ["done", ""], run.stdout + run.stderr


def test_a_file_that_unpacks_to_much_can_be_allowed(tmp_path):
    path = tmp_path / "a.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps({"a": np.zeros(10_000_000)}), 1))
    with pytest.raises(UserError, match="unpacks to more than 64 times"):
        read_source(path)
    assert read_source(path, max_expansion=2000.0).columns.cells["a"].nbytes == 80_000_000


def test_vocabulary_is_pinned():
    """A name more is a decision: whoever adds one changes this number, and says here why it cannot run anything.

    Arrays of pandas' own keep the numpy arrays of their state; dtypes, zones and frequencies keep nothing; dates become
    seconds by arithmetic; `getattr` knows one answer, the inert stand-in of `ZoneInfo._unpickle`. A Series and its
    manager, each under two modules, keep the cells of their one block.
    """
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 161
    makers = {maker for maker in VOCABULARY.values() if maker is not None}
    assert all(maker.__module__.startswith("cres.data.pickle") for maker in makers)


def test_getattr_is_for_time_zones_alone(tmp_path):
    """`getattr(ZoneInfo, …)` for any other attribute, and of anything else, is refused."""
    zone, get = global_("zoneinfo", "ZoneInfo"), global_("builtins", "getattr")
    for number, (owner, name) in enumerate(
        [(zone, b"Vkey\n"), (zone, b"V__init__\n"), (global_("pandas", "DataFrame"), b"V_unpickle\n")]
    ):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(get + b"(" + owner + name + b"tR.")
        with pytest.raises(UserError, match=r"builtins\.getattr of something that is no time zone"):
            read_source(path)
