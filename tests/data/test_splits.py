"""Splits: by event or by file, of exact shares, and no electron in two of them."""

from __future__ import annotations

import numpy as np
import pytest
from frames import write_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from cres.data.module import CresDataModule
from cres.data.prepare import prepare
from cres.errors import UserError
from reconstruction.records.splits import split_by_event, split_by_file


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
    with pytest.raises(UserError, match="hold the same row"):
        split_by_file(starts, events, events, (0.5, 0.25, 0.25), 0, names)


def test_parts_and_their_merged_file_in_one_folder_are_refused(tmp_path):
    """They would double every electron; a join by id would drop the second half."""
    write_frames(tmp_path / "raw")
    for source in sorted((tmp_path / "raw").iterdir()):
        prepare([source], tmp_path / "out" / f"{source.name}.hdf5")
    CresDataModule(str(tmp_path / "out"), fractions=(0.6, 0.2, 0.2)).setup("fit")
    prepare([tmp_path / "raw"], tmp_path / "out" / "all.hdf5")
    with pytest.raises(UserError, match=r"one event_id \(and 32 more\); they are the same electron"):
        CresDataModule(str(tmp_path / "out"), fractions=(0.6, 0.2, 0.2)).setup("fit")
