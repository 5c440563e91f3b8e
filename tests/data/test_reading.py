"""Reading: rows, windows, bands and batches are those of the files, in any layout, process and order."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest
import torch
from frames import make_frame, write_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from cres import schema
from cres.data.loader import KeyedSampler
from cres.data.module import CresDataModule
from cres.data.prepare import prepare
from cres.data.records import open_records
from cres.data.settings import Assembly
from cres.data.splits import split_by_event, split_by_file
from cres.data.windows import make_band, make_window
from cres.errors import UserError
from cres.transforms import SpectrumView


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    frame = write_frames(folder / "raw", files=3, rows=20, samples=256)
    prepare([folder / "raw"], folder / "cres.hdf5")
    return folder, frame


def volts(frame) -> np.ndarray:
    return np.stack([np.stack(list(frame[name])) for name in schema.SERIES_COLUMNS], axis=-1)


def batches_by_event(loader) -> dict[int, torch.Tensor]:
    return {
        int(event): series for batch in loader for event, series in zip(batch["event_id"], batch["series"], strict=True)
    }


# Rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "assembly",
    [Assembly(), Assembly(plain=True), Assembly(compression="gzip"), Assembly(shard_rows=8)],
    ids=["ours", "plain", "compressed", "shards"],
)
@pytest.mark.filterwarnings("ignore:.*does not say how it was recorded")
def test_any_rows_in_any_order_and_any_window(tmp_path, assembly):
    frame = write_frames(tmp_path / "raw", files=2, rows=20, samples=256)
    result = prepare([tmp_path / "raw"], tmp_path / "cres.hdf5", assembly=assembly)
    records, expected = open_records(result.outputs[-1]), volts(frame)
    for rows in ([0], [40, 3, 3, 17], list(range(41)), list(range(40, -1, -1)), []):
        np.testing.assert_array_equal(records.read_series(rows), expected[rows])
        np.testing.assert_array_equal(records.read_series(rows, 10, 33), expected[rows, 10:43])
    rows, starts = np.array([5, 39, 6]), np.array([0, 200, 56])
    windows = np.stack([expected[row, start : start + 56] for row, start in zip(rows, starts, strict=True)])
    np.testing.assert_array_equal(records.read_series(rows, starts, 56), windows)
    for wrong in (lambda: records.read_series([41]), lambda: records.read_series([0], 250, 7)):
        with pytest.raises(IndexError):
            wrong()


def test_direct_reading_equals_reading_through_hdf5(prepared):
    """The slow twin: the file's own library."""
    folder, frame = prepared
    rows = np.random.default_rng(1).permutation(len(frame))
    with h5py.File(folder / "cres.hdf5", "r") as file:
        slow = np.stack([np.stack([file[name][row] for row in rows]) for name in schema.SERIES_COLUMNS], axis=-1)
    np.testing.assert_array_equal(open_records(folder / "cres.hdf5").read_series(rows), slow)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2"])
def test_foreign_files_in_other_types(tmp_path, dtype):
    series = np.arange(40).reshape(2, 20)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name in schema.SERIES_COLUMNS:
            file[name] = series.astype(dtype)
        file[schema.ENERGY] = np.array([18500, 18600], "f4")
    with pytest.warns(UserWarning, match="assumed: sampling rate 403 MHz, oscillator 25.9702 GHz") as caught:
        records = open_records(tmp_path / "a.hdf5")
    assert len(caught) == 1
    np.testing.assert_array_equal(records.read_series([1, 0])[..., 0], series[[1, 0]])
    assert records.scalar(schema.ENERGY).dtype == np.float64
    assert len(set(records.event_ids)) == 2


def test_a_file_that_is_cut_meanwhile_gives_a_sentence(prepared, tmp_path):
    folder, _ = prepared
    path = tmp_path / "cut.hdf5"
    path.write_bytes((folder / "cres.hdf5").read_bytes())
    records = open_records(path)
    records.read_series([0])
    with path.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(UserError, match="is shorter than it says"):
        records.read_series(np.arange(len(records)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_open_records_travel_to_other_processes(prepared, method):
    folder, frame = prepared
    records = open_records(folder / "cres.hdf5")
    records.read_series([1])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        np.testing.assert_array_equal(pool.submit(records.read_series, [0]).result(), volts(frame)[:1])
    records.close()
    np.testing.assert_array_equal(records.read_series([1]), volts(frame)[1:2])


def write_plain(path, samples=16, rows=2, **columns) -> None:
    with h5py.File(path, "w") as file:
        for name in schema.SERIES_COLUMNS:
            file[name] = np.random.default_rng(rows).normal(size=(rows, samples)).astype("f4")
        for name, values in columns.items():
            file[name] = values
        file.attrs.update(sampling_rate_hz=403e6, lo_frequency_hz=25.9702e9)


def test_files_that_do_not_fit_together_are_named_at_once(tmp_path):
    write_plain(tmp_path / "a.hdf5")
    write_plain(tmp_path / "b.hdf5", samples=17)
    with pytest.raises(UserError, match=r"b.hdf5 holds 17 samples a series, .*a.hdf5 16"):
        open_records(tmp_path)
    write_plain(tmp_path / "b.hdf5", energy_eV=np.array([1e4, 1e4]))
    with pytest.raises(UserError, match=r"b.hdf5 has a column energy_eV, .*a.hdf5 has not"):
        open_records([tmp_path / "a.hdf5", tmp_path / "b.hdf5"])
    write_plain(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "a") as file:
        file.attrs["sampling_rate_hz"] = 200e6
    with pytest.raises(UserError, match="sampling_rate_hz is"):
        open_records(str(tmp_path / "*.hdf5"))
    write_plain(tmp_path / "b.hdf5", energy_eV=np.zeros(3))
    with pytest.raises(UserError, match=r"holds energy_eV of shape \(3,\)"):
        open_records(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["x"] = [1]
    with pytest.raises(UserError, match="has no series output_ts_I; its columns are x"):
        open_records(tmp_path / "b.hdf5")
    (tmp_path / "b.hdf5").write_bytes(b"nothing")
    for data, words in [
        (tmp_path / "b.hdf5", "cannot be read as HDF5"),
        (tmp_path / "missing.hdf5", r"there is no file .*scripts/data_prep.py"),
        (tmp_path / "missing*.hdf5", "there is no file"),
        ([], "no data files are named"),
    ]:
        with pytest.raises(UserError, match=words):
            open_records(data)


@pytest.mark.filterwarnings("ignore:.*does not say how it was recorded")
@pytest.mark.parametrize("by_folder", [True, False])
def test_a_shard_that_is_missing_or_changed_is_noticed(tmp_path, by_folder):
    write_frames(tmp_path / "raw")
    output = tmp_path / "out" / "cres.hdf5"
    shards = prepare([tmp_path / "raw"], output, assembly=Assembly(shard_rows=11)).outputs
    data = output.parent if by_folder else output
    assert len(open_records(data)) == 33
    content = shards[1].read_bytes()
    shards[1].write_bytes(shards[0].read_bytes())
    with pytest.raises(UserError, match="does not hold the electrons that its index lists"):
        open_records(data)
    shards[1].unlink()
    with pytest.raises(UserError, match=r"cres.index.json lists the shard cres-00001-.*, which is missing"):
        open_records(data)
    shards[1].write_bytes(content)
    (output.parent / "cres.index.json").write_text("{}")
    with pytest.raises(UserError, match="is no index of shards"):
        open_records(data)


# Splits ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    seed=st.integers(0, 5),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.0, 0.0, 1.0), (0.2, 0.2, 0.1)]),
    data=st.data(),
)
def test_no_electron_is_in_two_parts(events, seed, fractions, data):
    event_ids = np.array(events, np.int64)
    content = np.array([data.draw(st.integers(0, 30)) for _ in events], np.int64)
    split = split_by_event(event_ids, content, fractions, seed)
    parts = (split.train, split.validation, split.test)
    rows = np.concatenate(parts)
    assert len(set(rows.tolist())) == len(rows)
    if sum(fractions) == pytest.approx(1):
        assert len(rows) == len(events)
    for values in (event_ids, content):
        sets = [set(values[part].tolist()) for part in parts]
        assert sum(map(len, sets)) == len(set.union(*sets))
    order = np.random.default_rng(seed).permutation(len(events))
    again = split_by_event(event_ids[order], content[order], fractions, seed)
    if len(set(events)) == len(events) == len(set(content.tolist())):
        assert set(event_ids[order][again.test].tolist()) == set(event_ids[split.test].tolist())


def test_shares_are_exact_and_depend_on_the_seed():
    events = np.arange(1000)
    splits = [split_by_event(events, events, (0.8, 0.1, 0.1), seed) for seed in (0, 1)]
    assert [len(splits[0].train), len(splits[0].validation), len(splits[0].test)] == [800, 100, 100]
    assert set(splits[0].test) != set(splits[1].test)
    with pytest.raises(UserError, match="fractions are three numbers"):
        split_by_event(events, events, (0.8, 0.3, 0.1), 0)


def test_split_by_file_keeps_files_whole_and_refuses_shared_electrons():
    starts, names = np.array([0, 10, 20, 30, 40]), ["a", "b", "c", "d"]
    events = np.arange(40)
    split = split_by_file(starts, events, events, (0.5, 0.25, 0.25), 0, names)
    assert [len(split.train), len(split.validation), len(split.test)] == [20, 10, 10]
    for part in (split.train, split.validation, split.test):
        assert len(part) == 10 * len({int(row) // 10 for row in part})
    events[split.test[0]] = events[split.train[0]]
    with pytest.raises(UserError, match="hold the same electron"):
        split_by_file(starts, events, events, (0.5, 0.25, 0.25), 0, names)


def test_parts_and_their_merged_file_in_one_folder_do_not_leak(tmp_path):
    write_frames(tmp_path / "raw")
    for source in sorted((tmp_path / "raw").iterdir()):
        prepare([source], tmp_path / "out" / f"{source.name}.hdf5")
    prepare([tmp_path / "raw"], tmp_path / "out" / "all.hdf5")
    module = CresDataModule(str(tmp_path / "out"), fractions=(0.6, 0.2, 0.2))
    content = module.records.content_hashes()
    assert len(content) == 66
    parts = [set(content[rows]) for rows in (module.split.train, module.split.validation, module.split.test)]
    assert sum(map(len, parts)) == 33
    assert len(set.union(*parts)) == 33


# Windows and bands -------------------------------------------------------------------------------------------------


def test_random_windows_depend_on_seed_epoch_and_event_only():
    window = make_window(0, 10, 100, jitter_seed=3)
    events = np.arange(2000)
    starts = window.starts(4, events)
    np.testing.assert_array_equal(window.starts(4, events[[7, 3]]), starts[[7, 3]])
    assert (window.starts(5, events) != starts).mean() > 0.9
    assert (make_window(0, 10, 100, 4).starts(4, events) != starts).mean() > 0.9
    assert (starts.min(), starts.max()) == (0, 90)
    np.testing.assert_array_equal(make_window(5, None, 100, None).starts(0, events), 5)
    for start, length in [(0, 101), (95, 6), (-1, 5), (0, 0)]:
        with pytest.raises(UserError, match="does not fit in records of 100"):
            make_window(start, length, 100, None)


def test_a_band_keeps_tones_volts_and_the_density_of_noise():
    rate, samples, count = 400e6, 4096, 64
    band = make_band((-100e6, -50e6), samples, rate)
    narrow_rate, shift = band.rate_hz(rate), band.shift_hz(rate)
    assert narrow_rate == pytest.approx(50e6, rel=1e-3)
    frequency = -70e6
    tone = 0.3 * np.exp(2j * np.pi * frequency * np.arange(samples) / rate)
    series = np.stack([tone.real, tone.imag], axis=-1).astype(np.float32)[None]
    kept = band.select(torch.from_numpy(series))[0].numpy() @ np.array([1, 1j])
    times = np.arange(band.bins) / narrow_rate
    expected = 0.3 * np.exp(2j * np.pi * (frequency - shift) * times)
    middle = slice(band.bins // 10, -band.bins // 10)
    assert np.abs(kept - expected)[middle].max() < 0.01
    outside = np.exp(2j * np.pi * 20e6 * np.arange(samples) / rate)
    gone = band.select(torch.from_numpy(np.stack([outside.real, outside.imag], -1).astype(np.float32)[None]))
    assert gone[0, middle].abs().max() < 0.02
    noise = np.random.default_rng(1).normal(size=(count, samples, 2)).astype(np.float32)
    assert float(band.select(torch.from_numpy(noise)).var()) / narrow_rate == pytest.approx(
        noise.var() / rate, rel=0.02
    )
    with pytest.raises(UserError, match="is not within"):
        make_band((-300e6, 0.0), samples, rate)


def test_a_band_before_batching_gives_the_spectrum_of_the_whole_record():
    """Lines of the spectrum, in units of the nominal noise, are the same whichever way they were cut out."""
    rate, samples = 403e6, 4096
    series = torch.from_numpy(np.random.default_rng(2).normal(size=(3, samples, 2)).astype(np.float32))
    band = make_band((-80e6, -45e6), samples, rate)
    early = SpectrumView(band.rate_hz(rate), band_hz=None)(band.select(series)).series
    edges = (band.first * rate / samples, (band.first + band.bins - 1) * rate / samples)
    late = SpectrumView(rate, band_hz=edges)(series).series
    assert early.shape == late.shape == (3, band.bins, 2)
    torch.testing.assert_close(early, late, rtol=0, atol=1e-4 * float(late.abs().max()))


# Batches -----------------------------------------------------------------------------------------------------------


def test_batches_hold_what_the_contract_says(prepared):
    folder, frame = prepared
    module = CresDataModule(str(folder / "cres.hdf5"), batch_size=16)
    module.setup("fit")
    by_event = frame.set_index(schema.EVENT_ID)
    seen = []
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            rows = by_event.loc[batch["event_id"].numpy()]
            seen += batch["event_id"].tolist()
            assert batch["series"].dtype == torch.float32
            assert batch["series"].is_contiguous()
            np.testing.assert_array_equal(batch["series"].numpy(), volts(rows))
            np.testing.assert_array_equal(batch["lengths"].numpy(), 256)
            np.testing.assert_array_equal(batch["targets"].numpy(), rows[list(schema.DEFAULT_TARGETS)].to_numpy())
            assert set(batch["observables"]) == {schema.RADIUS, schema.CARRIER_FREQUENCY}
            for name, values in batch["observables"].items():
                np.testing.assert_array_equal(values.numpy(), rows[name].to_numpy())
    assert sorted(seen) == sorted(frame[schema.EVENT_ID])
    assert [int(event) for batch in module.predict_dataloader() for event in batch["event_id"]] == frame[
        schema.EVENT_ID
    ].tolist()


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"window_start": 3, "window_samples": 64, "random_window": True},
        {"window_start": 3, "window_samples": 64},
        {"band_hz": (-100e6, -50e6)},
        {"band_hz": (-100e6, -50e6), "window_samples": 128, "random_window": True},
    ],
)
def test_caches_and_workers_change_nothing(prepared, cache, extra):
    folder, _ = prepared
    plain = CresDataModule(str(folder / "cres.hdf5"), batch_size=16, **extra)
    cached = CresDataModule(str(folder / "cres.hdf5"), batch_size=5, cache=cache, **extra)
    loaders = plain.train_dataloader(), cached.train_dataloader()
    first, second = map(batches_by_event, loaders)
    assert first.keys() == second.keys()
    for event in first:  # batches of other sizes round the transforms of a band differently
        torch.testing.assert_close(first[event], second[event], rtol=0, atol=1e-5 if "band_hz" in extra else 0)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_workers_deliver_the_same_batches_epoch_by_epoch(prepared, method):
    folder, _ = prepared
    options = {"batch_size": 7, "random_window": True, "window_samples": 32}
    plain = CresDataModule(str(folder / "cres.hdf5"), **options).train_dataloader()
    loader = CresDataModule(str(folder / "cres.hdf5"), workers=2, start_method=method, **options).train_dataloader()
    for epoch in range(2):
        for each in (plain, loader):
            each.sampler.set_epoch(epoch)
        for ours, theirs in zip(plain, loader, strict=True):
            assert torch.equal(ours["event_id"], theirs["event_id"])
            assert torch.equal(ours["series"], theirs["series"])


def test_the_band_changes_the_facts(prepared):
    folder, _ = prepared
    module = CresDataModule(str(folder / "cres.hdf5"), band_hz=(-100e6, -50e6))
    facts = module.file_facts()
    assert facts["samples"] == next(iter(module.val_dataloader()))["series"].shape[1] == 32
    assert facts["sampling_rate_hz"] == pytest.approx(403e6 * 32 / 256)
    assert facts["lo_frequency_hz"] == pytest.approx(25.9702e9 - 75e6, abs=2e6)


def test_unlabelled_records_are_read_without_targets(tmp_path):
    frame = make_frame(12, 1).drop(columns=list(schema.TRUTH_COLUMNS))
    frame.to_pickle(tmp_path / "real.pkl.gz")
    prepare([tmp_path / "real.pkl.gz"], tmp_path / "real.hdf5")
    module = CresDataModule(str(tmp_path / "real.hdf5"))
    assert not module.labelled
    batch = next(iter(module.predict_dataloader()))
    assert "targets" not in batch
    assert set(batch["observables"]) == {schema.CARRIER_FREQUENCY}


def test_wrong_names_are_said_at_the_start(prepared):
    folder, _ = prepared
    for options, words in [
        ({"targets": ("energy_ev",)}, r"no target energy_ev \(did you mean 'energy_eV'\?\)"),
        ({"observables": ("radius",)}, r"no column radius \(did you mean 'radius_m'\?\)"),
        ({"window_samples": 300}, "does not fit"),
        ({"band_hz": (0.0, 1e9)}, "is not within"),
        ({"fractions": (0.0, 0.5, 0.5)}, "training split of .* is empty"),
    ]:
        with pytest.raises(UserError, match=words):
            CresDataModule(str(folder / "cres.hdf5"), **options).setup("fit")


def test_the_split_in_the_facts_knows_its_events(prepared):
    folder, _ = prepared
    facts = [CresDataModule(str(folder / "cres.hdf5"), split_seed=seed).file_facts() for seed in (None, 0, 1)]
    assert facts[0] == facts[1]
    assert facts[0]["split"]["test_events"] != facts[2]["split"]["test_events"]


# Order, processes, resuming ----------------------------------------------------------------------------------------


@given(
    size=st.integers(0, 40),
    world=st.integers(1, 5),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_processes_share_an_epoch_without_overlap(size, world, shuffle, epoch):
    samplers = [KeyedSampler(size, 3, shuffle, rank, world) for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    rows = [[draw.row for draw in sampler] for sampler in samplers]
    assert [len(part) for part in rows] == [len(sampler) for sampler in samplers]
    together = [row for part in rows for row in part]
    assert len(set(together)) == len(together)
    assert len(together) == (size - size % world if shuffle else size)
    if shuffle:
        assert len({len(part) for part in rows}) == 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_loader_resumes_in_mid_epoch(prepared, workers):
    folder, _ = prepared
    options = {"batch_size": 4, "workers": workers}
    loader = CresDataModule(str(folder / "cres.hdf5"), **options).train_dataloader()
    loader.sampler.set_epoch(2)
    whole = [batch["event_id"].tolist() for batch in loader]
    iterator = iter(loader)
    begun = [next(iterator)["event_id"].tolist() for _ in range(3)]
    state = loader.state_dict()
    resumed = CresDataModule(str(folder / "cres.hdf5"), **options).train_dataloader()
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(2)
    assert begun + [batch["event_id"].tolist() for batch in resumed] == whole
    assert resumed.state_dict() == {"batches": 0}
    assert [batch["event_id"].tolist() for batch in resumed] == whole


# Streams -----------------------------------------------------------------------------------------------------------


class Counting:
    """Electron i of a seed: its number, in every column."""

    sampling_rate_hz = 403e6
    lo_frequency_hz = 25.9702e9
    samples = 256

    def __call__(self, seed: int, start: int, count: int) -> dict[str, np.ndarray]:
        number = np.arange(start, start + count)
        series = np.repeat(number[:, None], self.samples, axis=1).astype(np.float32)
        scalars = dict.fromkeys((*schema.TRUTH_COLUMNS, schema.CARRIER_FREQUENCY), number.astype(float))
        return {schema.EVENT_ID: number + 10**6 * seed, schema.SERIES_I: series, schema.SERIES_Q: -series, **scalars}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_stream_never_repeats_and_resumes(prepared, workers):
    folder, _ = prepared
    options = {"stream": Counting(), "stream_electrons": 10, "batch_size": 4, "workers": workers, "seed": 3}
    module = CresDataModule(str(folder / "cres.hdf5"), **options)
    module.setup("fit")
    loader = module.train_dataloader()
    numbers = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            numbers += batch["targets"][:, 0].tolist()
            np.testing.assert_array_equal(batch["series"][:, 0, 1], -batch["targets"][:, 1])
            assert set(batch["observables"]) == {schema.RADIUS, schema.CARRIER_FREQUENCY}
    assert numbers == list(range(30))
    assert len(batches_by_event(module.val_dataloader())) == len(module.split.validation)


def test_a_stream_must_fit_the_data(prepared):
    folder, _ = prepared
    other = Counting()
    other.samples = 128
    with pytest.raises(UserError, match=r"samples is 256 in .* and 128 in the stream"):
        CresDataModule(str(folder / "cres.hdf5"), stream=other).setup("fit")
    with pytest.raises(UserError, match="window and band are for files"):
        CresDataModule(str(folder / "cres.hdf5"), stream=Counting(), window_samples=5).setup("fit")
