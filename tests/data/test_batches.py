"""Batches: what they hold, whatever the cache and the workers; order, processes, resuming."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frames import make_frame, write_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from cres import schema
from cres.data.module import CresDataModule
from cres.data.prepare.preparation import prepare
from cres.errors import UserError
from reconstruction.records.loader import KeyedSampler


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
        int(event): series
        for batch in loader
        for event, series in zip(batch["event_id"], batch["inputs"]["series"], strict=True)
    }


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
            assert batch["inputs"]["series"].dtype == torch.float32
            assert batch["inputs"]["series"].is_contiguous()
            np.testing.assert_array_equal(batch["inputs"]["series"].numpy(), volts(rows))
            assert not batch["masks"]
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
            assert torch.equal(ours["inputs"]["series"], theirs["inputs"]["series"])


def test_the_band_changes_the_facts(prepared):
    folder, _ = prepared
    module = CresDataModule(str(folder / "cres.hdf5"), band_hz=(-100e6, -50e6))
    facts = module.file_facts()
    assert facts["samples"] == next(iter(module.val_dataloader()))["inputs"]["series"].shape[1] == 32
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
        ({"targets": ()}, r"targets is empty: name at least one"),
        ({"targets": ("energy_eV", "radius_m", "energy_eV")}, "names energy_eV twice"),
        ({"targets": ("energy_eV", "event_id")}, "event_id, which names an electron"),
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


@settings(deadline=None)
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
