"""Files that a first reader of the format would write, or spoil: each ends in one sentence, none in a traceback."""

from __future__ import annotations

import gzip
import os
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from frames import assert_holds, make_frame, run_script, write_frames

from cres import schema
from cres.data.module import CresDataModule
from cres.data.prepare.checking import check
from cres.data.prepare.merging import merge
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.data.settings import Assembly, StagingSettings
from cres.errors import UserError

SKIP = StagingSettings(skip_bad=True)
ROWS = 8


def write_pickle(path: Path, content: object) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(content)))


def cut(frame: pd.DataFrame, samples: int, *names: str) -> pd.DataFrame:
    return frame.assign(**{name: [series[:samples] for series in frame[name]] for name in names})


def with_cell(frame: pd.DataFrame, column: str, value: object, row: int = 3) -> pd.DataFrame:
    frame = frame.astype({column: object})
    frame.at[row, column] = value
    return frame


def with_attribute(frame: pd.DataFrame, name: str, value: object) -> pd.DataFrame:
    frame.attrs[name] = value
    return frame


REFUSED = {
    "I and Q differ": (
        lambda f: cut(f, 32, schema.SERIES_Q),
        "column output_ts_Q: has 32 samples, output_ts_I has 64",
    ),
    "no samples": (
        lambda f: cut(f, 0, *schema.SERIES_COLUMNS),
        "column output_ts_I: holds arrays without values",
    ),
    "an array column without values": (lambda f: f.assign(empty=[np.zeros(0)] * ROWS), "column empty: holds arrays"),
    "bits for volts": (
        lambda f: f.assign(output_ts_I=[series > 0 for series in f[schema.SERIES_I]]),
        "column output_ts_I: is bool; real volts",
    ),
    "radians": (
        lambda f: f.assign(pitch_angle_deg=np.deg2rad(f[schema.PITCH_ANGLE])),
        r"row 0, column pitch_angle_deg: is 1\.5",
    ),
    "millimetres": (lambda f: f.assign(radius_m=5.0), "row 0, column radius_m: is 5 m"),
    "one text among numbers": (lambda f: with_cell(f, schema.ENERGY, "18 keV"), "row 3, column energy_eV: holds text"),
    "one number among series": (
        lambda f: with_cell(f, schema.SERIES_I, 1.0),
        "row 3, column output_ts_I: holds number",
    ),
    "one text among series": (lambda f: with_cell(f, schema.SERIES_Q, "x"), "row 3, column output_ts_Q: holds text"),
    "no text among texts": (lambda f: f.assign(note=[*"abc", None, *"efgh"]), "row 3, column note: is empty"),
    "a text that is none": (lambda f: f.assign(note=["\udc80"] * ROWS), "column note: holds a text that is no Unicode"),
    "a frame in a cell": (
        lambda f: f.assign(inner=[None] * 3 + [pd.DataFrame({"a": [1]})] * (ROWS - 3)),
        "in column inner in row 3 it holds a cell of type Frame",
    ),
    "lists of lists": (
        lambda f: f.assign(output_ts_I=[[list(map(float, series))] for series in f[schema.SERIES_I]]),
        "in column output_ts_I in row 0 it holds a cell that is a list",
    ),
    "a column called dot": (lambda f: f.assign(**{".": 1.0}), "names a column '.'"),
    "a column called by half a letter": (
        lambda f: dict(zip(["\udc80", *f], [np.ones(ROWS), *(list(f[name]) for name in f)], strict=True)),
        "which is no plain text",
    ),
    "names of two levels": (
        lambda f: f.set_axis(pd.MultiIndex.from_tuples([("a", name) for name in f]), axis=1),
        "no plain names",
    ),
    "a rate that is a text": (lambda f: with_attribute(f, "sampling_rate_hz", "fast"), "sampling_rate_hz = fast"),
    "a rate of zero": (lambda f: with_attribute(f, "sampling_rate_hz", 0.0), r"sampling_rate_hz = 0\.0"),
    "an oscillator of NaN": (lambda f: with_attribute(f, "lo_frequency_hz", np.nan), "lo_frequency_hz = nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_spoilt_frame_is_refused_in_one_sentence_and_can_be_left_out(tmp_path, name):
    spoil, words = REFUSED[name]
    write_frames(tmp_path, files=1)
    write_pickle(tmp_path / "spoilt.pkl.gz", spoil(make_frame(ROWS, 7, first_event=9000)))
    with pytest.raises(UserError, match=words) as caught:
        prepare([tmp_path], tmp_path / "out.hdf5")
    assert str(tmp_path / "spoilt.pkl.gz") in str(caught.value)
    result = prepare([tmp_path], tmp_path / "out.hdf5", settings=SKIP)
    assert result.skipped
    assert all("spoilt" in sentence for sentence in result.skipped)


def test_skipping_finds_every_bad_row_of_a_column(tmp_path):
    """A row of another length does not hide NaN and an unknown kind in other rows of its column."""
    frame = make_frame(ROWS, 7)
    frame.at[1, schema.SERIES_I] = frame.at[1, schema.SERIES_I][:10]
    frame.at[4, schema.SERIES_I] = np.full(64, np.nan, np.float32)
    frame = with_cell(frame, schema.SERIES_I, "volts", row=6)
    write_pickle(tmp_path / "a.pkl.gz", frame)
    result = prepare([tmp_path], tmp_path / "out.hdf5", settings=SKIP)
    assert len(result.skipped) == 3
    assert_holds(tmp_path / "out.hdf5", frame.drop(index=[1, 4, 6]))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("make", [pipe, dangling, Path.mkdir])
def test_what_is_no_file_is_refused_or_left_out(tmp_path, make):
    frame = write_frames(tmp_path, files=1)
    make(tmp_path / "odd.pkl.gz")
    with pytest.raises(UserError, match=r"odd\.pkl\.gz"):
        prepare([tmp_path], tmp_path / "out.hdf5")
    result = prepare([tmp_path], tmp_path / "out.hdf5", settings=SKIP)
    assert len(result.skipped) == 1
    assert_holds(tmp_path / "out.hdf5", frame)


def test_a_source_is_never_the_output(tmp_path):
    write_frames(tmp_path, files=1)
    path = tmp_path / "electrons_00000.pkl.gz"
    before = path.read_bytes()
    with pytest.raises(UserError, match="one of the files to read"):
        prepare([path], path)
    assert path.read_bytes() == before


def test_a_file_that_does_not_state_its_rate_has_the_default(tmp_path):
    """Beside a file of another rate it is not taken for one of that rate."""
    for number, rate_hz in enumerate((200e6, None)):
        frame = make_frame(ROWS, number, first_event=100 * number)
        frame.attrs = {} if rate_hz is None else {"sampling_rate_hz": rate_hz}
        write_pickle(tmp_path / f"{number}.pkl.gz", frame)
    with pytest.raises(UserError, match=r"2e\+08 in .*0\.pkl\.gz and 4\.03e\+08 in .*1\.pkl\.gz \(assumed"):
        prepare([tmp_path], tmp_path / "out.hdf5")
    prepare([tmp_path], tmp_path / "out.hdf5", assembly=Assembly(sampling_rate_hz=200e6, lo_frequency_hz=25e9))
    assert open_records(tmp_path / "out.hdf5").sampling_rate_hz == 200e6


@pytest.mark.parametrize("seed", ["abc", 10**30])
def test_a_seed_that_is_no_number_is_kept_as_text(tmp_path, seed):
    write_pickle(tmp_path / "a.pkl.gz", with_attribute(make_frame(ROWS, 1), "seed", seed))
    prepare([tmp_path], tmp_path / "out.hdf5")
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert file.attrs["seed"] == str(seed).encode()


def test_impossible_numbers_on_the_command_line(tmp_path):
    for words in (("--sampling-rate-hz", "0"), ("--lo-frequency-hz", "nan"), ("--max-expansion", "-1")):
        run = run_script("--input", tmp_path, *words)
        assert run.returncode == 2
        assert words[0] in run.stderr
        assert re.search("must be|is no", run.stderr)


# Files in the plain column layout, made by others ------------------------------------------------------------------


def plain_file(path: Path) -> Path:
    frame = make_frame(ROWS, 1)
    with h5py.File(path, "w") as file:
        for name in frame:
            file[name] = np.stack(list(frame[name]))
    return path


def put(name: str, values: object):
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def state(name: str, value: object):
    return lambda file: file.attrs.__setitem__(name, value)


FOREIGN = {
    "texts for volts": (put(schema.SERIES_I, np.full((ROWS, 64), b"x")), "holds output_ts_I as |S1"),
    "complex volts": (put(schema.SERIES_Q, np.zeros((ROWS, 64), "c8")), "holds output_ts_Q as complex64"),
    "volts of three dimensions": (put(schema.SERIES_I, np.zeros((ROWS, 64, 1))), "(rows, samples) is expected"),
    "texts for energies": (put(schema.ENERGY, np.full(ROWS, b"x")), "holds energy_eV as |S1"),
    "energies of two dimensions": (put(schema.ENERGY, np.full((ROWS, 1), 18600.0)), "of shape (8, 1)"),
    "half event ids": (put(schema.EVENT_ID, np.arange(ROWS) + 0.5), "whole numbers"),
    "texts for event ids": (put(schema.EVENT_ID, np.full(ROWS, b"x")), "whole numbers"),
    "NaN in a target": (put(schema.ENERGY, np.full(ROWS, np.nan)), "column energy_eV: holds NaN"),
    "keV": (put(schema.ENERGY, np.full(ROWS, 18.6)), "column energy_eV: is 18.6 eV"),
    "a rate that is a text": (state("sampling_rate_hz", "fast"), "sampling_rate_hz = fast"),
    "a rate of zero": (state("sampling_rate_hz", 0.0), "sampling_rate_hz = 0.0"),
    "two rates": (state("sampling_rate_hz", [1e6, 2e6]), "sampling_rate_hz = "),
}


def start_training(path: Path) -> None:
    CresDataModule(str(path), batch_size=2).train_dataloader()


@pytest.mark.parametrize("use", [start_training, check, lambda path: merge([path], path.with_name("m.hdf5"))])
@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.filterwarnings("ignore:.*does not say how it was recorded")
def test_a_foreign_file_is_refused_at_start_in_one_sentence(tmp_path, name, use):
    change, words = FOREIGN[name]
    path = plain_file(tmp_path / "plain.hdf5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError) as caught:
        use(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_rate_in_an_array_of_one_is_a_rate(tmp_path):
    path = plain_file(tmp_path / "plain.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs.update({"sampling_rate_hz": [200e6], "lo_frequency_hz": np.array([25e9])})
    assert open_records(path).sampling_rate_hz == 200e6


def contents(path):
    with h5py.File(path, "r") as file:
        units = {name: dict(dataset.attrs) for name, dataset in file.items()}
        return repr((dict(file.attrs), units, {name: dataset[...].tolist() for name, dataset in file.items()}))


def test_a_checked_file_with_a_flipped_bit_is_refused_or_says_the_same(tmp_path):
    """Attributes count too: `config` decides what apparatus is assumed."""
    write_frames(tmp_path, files=1)
    prepare([tmp_path], tmp_path / "good.hdf5")
    good, whole = contents(tmp_path / "good.hdf5"), (tmp_path / "good.hdf5").read_bytes()
    assert b"GCOL" not in whole  # the heap of texts of any length: no checksums, and HDF5 itself may hang on it
    places = [whole.index(text) for text in (b"config", b"git_commit", b"sources", b"units")]
    refused = 0
    for start in places:
        for position in range(start, start + 120, 3):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << position % 8
            path = tmp_path / "bad.hdf5"
            path.write_bytes(damaged)
            try:
                check(path)
            except UserError:
                refused += 1
            else:
                assert contents(path) == good
    assert refused > 100


def test_flipped_bits_of_a_prepared_file_never_end_in_a_traceback(tmp_path):
    """Where the structure of the file is hit, too; joining names the damaged file, not the output."""
    write_frames(tmp_path, files=1)
    prepare([tmp_path], tmp_path / "good.hdf5")
    whole = (tmp_path / "good.hdf5").read_bytes()
    told = []
    for position in range(0, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[position] ^= 16
        (tmp_path / "bad.hdf5").write_bytes(damaged)
        for use in (check, lambda path: merge([path], tmp_path / "m.hdf5")):
            try:
                use(tmp_path / "bad.hdf5")
            except UserError as error:
                told.append(str(error))
    assert len(told) > 30
    assert all("bad.hdf5" in sentence for sentence in told)
