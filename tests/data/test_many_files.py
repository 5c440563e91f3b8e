"""Many files as one set: few are open at once, batches mix them and balance them, and noise is a row's own."""

from __future__ import annotations

import gc
import json
import pickle
import shutil
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from frames import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from cres import schema
from cres.commands.simulate import main as simulate
from cres.data.module import CresDataModule
from cres.data.prepare.preparation import prepare
from cres.data.record_file import DEFAULT_GAIN, _stated
from cres.data.records import open_records
from cres.errors import UserError
from cres.estimation.methods.recordings import Recordings
from cres.simulation import SimulationConfig
from cres.simulation.plane import points_of
from cres.stated import settings_of_config
from reconstruction.records.batch import STRENGTH
from reconstruction.records.mixing import Blocks, balanced, in_blocks
from reconstruction.records.recent import RecentlyUsed

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how it was recorded")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six files of unequal size, of three apparatus."""
    folder = tmp_path_factory.mktemp("many")
    for number, rows in enumerate((6, 12, 24, 6, 12, 24)):
        (folder / f"raw{number}").mkdir()
        make_frame(rows, number).to_pickle(folder / f"raw{number}" / "electrons.pkl.gz")
        prepare([folder / f"raw{number}"], folder / f"{number}.hdf5")
        with h5py.File(folder / f"{number}.hdf5", "a") as file:
            taken = len(file[schema.SERIES_I])
            file["noise_temperature_k"] = np.full(taken, (4.0, 8.0, 16.0)[number % 3])
            file[schema.EVENT_ID][...] = np.arange(taken) + 1000 * number
    return folder


# What is kept -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_least_recently_used_goes_first(asked: list[int], most: int) -> None:
    """The slow twin: a list in the order of use."""
    recent: RecentlyUsed[int, str] = RecentlyUsed(most)
    order: list[int] = []
    for key in asked:
        made: list[int] = []
        assert recent.get(key, lambda key=key, made=made: made.append(key) or str(key)) == str(key)
        assert bool(made) == (key not in order)
        order = [*(one for one in order if one != key), key][-most:]
        assert [one for one in range(7) if one in recent] == sorted(order)


def test_what_is_forgotten_is_closed_and_memory_has_a_limit() -> None:
    closed: list[int] = []
    recent: RecentlyUsed[int, int] = RecentlyUsed(9, 10, lambda size: size, closed.append)
    for size in (4, 5, 3):
        recent.get(size, lambda size=size: size)
    assert (closed, recent.bytes, len(recent)) == ([4], 8, 2)
    assert recent.get(99, lambda: 99) == 99  # handed out, and kept by nobody
    assert (recent.bytes, 99 in closed) == (0, False)
    recent.clear()
    assert len(recent) == 0


def open_handles(folder: Path) -> int:
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        try:
            found += path.readlink().is_relative_to(folder)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
@pytest.mark.parametrize(("limit", "handles"), [(2, 4), (64, 12)])
def test_few_files_are_open_at_once(folder, limit, handles):
    gc.collect()  # what other tests left open
    records, whole = open_records(folder, limit), open_records(folder)
    assert open_handles(folder) == 0  # nothing before it is asked for
    rows = np.random.default_rng(0).permutation(len(records))
    for part in np.array_split(rows, 9):
        np.testing.assert_array_equal(records.read_series(part), whole.read_series(part))
        whole.close()
        assert open_handles(folder) <= handles
    assert open_handles(folder) == handles
    again = pickle.loads(pickle.dumps(records))
    np.testing.assert_array_equal(again.read_series(rows[:5], 3, 20), whole.read_series(rows[:5], 3, 20))
    for one in (records, whole, again):
        one.close()
    assert open_handles(folder) == 0


def test_what_was_read_last_stays_in_memory_up_to_a_limit(folder, monkeypatch):
    whole = open_records(folder)
    size = whole.files[2].series_bytes
    records = open_records(folder, 64, 2.5 * size / 1e6)
    read: list[Path] = []
    monkeypatch.setattr(type(whole.files[0]), "whole_series", counted(type(whole.files[0]).whole_series, read))
    rows = np.random.default_rng(0).permutation(len(records))
    for _ in range(2):
        np.testing.assert_array_equal(records.read_series(rows, 1, 50), whole.read_series(rows, 1, 50))
        assert records._memory.bytes <= 2.5 * size
    records.close()
    read.clear()
    records.read_series([0])
    records.read_series([1, 2])
    assert read == [records.files[0].path]  # the second time it is in memory


def counted(function, read: list[Path]):
    def whole_series(self):
        read.append(self.path)
        return function(self)

    return whole_series


# The order ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 200), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_balanced_draws_are_equally_many_of_each_group(sizes: list[int], size: int, seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    places, repeats = balanced(groups, size, np.random.default_rng(seed))
    drawn = np.bincount(groups[places], minlength=len(sizes))
    assert len(places) == size
    assert np.ptp(drawn) <= 1
    for group in range(len(sizes)):
        times = np.bincount(places[groups[places] == group], minlength=len(groups))[groups == group]
        assert np.ptp(times) <= 1
    pairs = set(zip(places.tolist(), repeats.tolist(), strict=True))
    assert len(pairs) == size  # no row comes twice with the same noise


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 9), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_an_order_in_blocks_is_a_permutation_that_reads_few_places(sizes, rows, at_once) -> None:
    owner = np.repeat(np.arange(len(sizes)), sizes)
    random = np.random.default_rng(1)
    places = random.permutation(len(owner))
    order = in_blocks(places, Blocks(owner, rows, at_once), random)
    assert sorted(order.tolist()) == list(range(len(owner)))
    drawn = places[order]
    begun = np.searchsorted(owner, owner[drawn])
    block = [(int(one), int(place) // rows) for one, place in zip(owner[drawn], drawn - begun, strict=True)]
    left, being_read = Counter(block), set()
    for one in block:
        being_read.add(one)
        left[one] -= 1
        assert len(being_read) <= at_once
        if not left[one]:
            being_read.remove(one)


def module_of(folder: Path, **options: object) -> CresDataModule:
    data = CresDataModule(str(folder), fractions=(1.0, 0.0, 0.0), batch_size=12, **options)
    data.settings = ("noise_temperature_k",)
    data.setup("fit")
    return data


def test_a_training_mixes_apparatus_and_balances_them(folder):
    data = module_of(folder, balanced=True, shuffle_block=4)
    seen = [batch["observables"]["noise_temperature_k"].numpy() for batch in data.train_dataloader()]
    drawn = np.concatenate(seen)
    counts = [int((drawn == kelvin).sum()) for kelvin in (4.0, 8.0, 16.0)]
    assert max(counts) - min(counts) <= 1
    assert all(len(np.unique(batch)) > 1 for batch in seen)
    plain = np.concatenate(
        [batch["observables"]["noise_temperature_k"].numpy() for batch in module_of(folder).train_dataloader()]
    )
    assert [int((plain == kelvin).sum()) for kelvin in (4.0, 8.0, 16.0)] != counts


def test_the_order_is_the_same_after_a_resume(folder):
    ids = [batch["event_id"].tolist() for batch in module_of(folder, balanced=True, shuffle_block=4).train_dataloader()]
    loader = module_of(folder, balanced=True, shuffle_block=4).train_dataloader()
    loader.load_state_dict({"batches": 3})
    assert [batch["event_id"].tolist() for batch in loader] == ids[3:]


def test_only_the_files_that_are_named_are_used_of_one_split(folder):
    options = {"fractions": (0.6, 0.2, 0.2), "batch_size": 4}
    whole = CresDataModule(str(folder), **options)
    parts = [CresDataModule(str(folder), only=(f"{number}.hdf5",), **options) for number in range(6)]
    for name in ("train", "validation", "test"):
        joined = np.concatenate([getattr(part.split, name) for part in parts])
        assert sorted(joined.tolist()) == sorted(getattr(whole.split, name).tolist())
    with pytest.raises(UserError, match=r"data\.only names 9\.hdf5, which is none of the 6 files"):
        _ = CresDataModule(str(folder), only=("9.hdf5",), **options).split


# Settings and noise -------------------------------------------------------------------------------------------------


def test_each_row_gets_the_noise_of_its_own_apparatus(folder):
    data = module_of(folder)
    batch = next(iter(data.rows_dataloader(np.array([0, 7, 20]))))
    strength = batch[STRENGTH] / data.records.noise_density_w_per_hz
    kelvin = batch["observables"]["noise_temperature_k"]
    np.testing.assert_allclose(strength / strength[0], kelvin / kelvin[0], rtol=1e-12)
    one = CresDataModule(str(folder / "0.hdf5"))
    assert STRENGTH not in next(iter(one.rows_dataloader(np.array([0]))))


def test_settings_are_what_the_configuration_says():
    config = SimulationConfig.default().to_dict()
    found = settings_of_config(config)
    assert found["trap_wall_length_m"] == 0.38
    assert found["field_t"] == 0.95903
    assert "noise_temperature_k" not in found  # it is said as a density
    coils = config | {"trap": config["trap"] | {"kind": "coils", "coils": [[0.02, -0.08, 42.0], [0.02, 0.08, 41.0]]}}
    found = settings_of_config(coils)
    assert (found["coil_1_current_a"], found["coil_2_current_a"]) == (42.0, 41.0)
    assert "trap_wall_length_m" not in found
    assert config["readout"]["gain"] == DEFAULT_GAIN


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"trap": {"kind": "coils", "coils": [[1, 2]]}}, {}),
        ({"trap": {"kind": "coils", "coils": [[1, 2, "3"], 4, [0.02, 0.08, 41]]}}, {"coil_3_current_a": 41.0}),
        ({"trap": {"kind": "coils", "coils": 7}}, {}),
        ({"trap": {"field_t": "1 T"}, "cavity": {"radius_m": True, "loaded_q": 400}}, {"cavity_loaded_q": 400.0}),
        ({"trap": ["bathtub"], "readout": [1, 2], "cavity": None}, {}),
        ({"trap": {"kind": ["bathtub"], "flat_length_m": 1.0, "field_t": 10**400}}, {}),
        ({"readout": {"noise_density_w_per_hz": "1e-13", "gain": 2e9}}, {"gain": 2e9}),
        ({"readout": {"noise_density_w_per_hz": 1e-13, "gain": "much"}}, {}),
        ([1, 2], {}),
    ],
)
def test_the_configuration_of_somebody_else_says_what_can_be_read(config, said):
    assert _stated({"config": json.dumps(config)}) == said


def test_our_own_mistakes_in_reading_a_configuration_are_not_hidden(monkeypatch):
    def broken(config):
        raise KeyError("ours")

    monkeypatch.setattr("cres.data.record_file.settings_of_config", broken)
    with pytest.raises(KeyError, match="ours"):
        _stated({"config": "{}"})


@pytest.mark.parametrize(
    ("config", "density"),
    [
        ({"readout": {"noise_temperature_k": 10.0, "gain": 1e9}}, 1.380649e-13),  # k of the SI: 1.380649e-23 J/K
        ({"readout": {"noise_density_w_per_hz": 3e-13, "gain": 1e9}}, 3e-13),
        ({"readout": {"noise_temperature_k": "cold", "gain": 1e9}}, 2.2e-13),
        ({"readout": {"noise_temperature_k": 10.0}}, 2.2e-13),
        ({"readout": {"noise_density_w_per_hz": [3e-13]}}, 2.2e-13),
        ({"readout": [1, 2]}, 2.2e-13),
        ([1, 2], 2.2e-13),
    ],
)
def test_the_noise_of_somebody_elses_simulation_is_what_can_be_read_of_it(config, density, folder, tmp_path):
    path = Path(shutil.copy(folder / "0.hdf5", tmp_path))
    with h5py.File(path, "r+") as file:
        file.attrs["config"] = json.dumps(config)
        del file["noise_temperature_k"]
    records = open_records(path)
    np.testing.assert_allclose(records.noise_densities(), density, rtol=1e-9)
    assert records.noise_density_w_per_hz == pytest.approx(density, rel=1e-9)


def test_our_own_mistakes_in_reading_the_noise_are_not_hidden(folder, monkeypatch):
    def broken(readout, default):
        raise KeyError("ours")

    monkeypatch.setattr("cres.transforms.temperature.stated_density_w_per_hz", broken)
    with pytest.raises(KeyError, match="ours"):
        open_records(folder / "0.hdf5").noise_densities()


# Many apparatus are made --------------------------------------------------------------------------------------------

GRID = """
base: cavity.yaml
axes:
  trap.gradient_length_m: [0.30, 0.44]
  readout.noise_temperature_k: [4.0, 8.0]
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    (folder / "cavity.yaml").write_text("readout: {samples: 256, noise_temperature_k: 5.0}\n")
    (folder / "plane.yaml").write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        for task in ("0/2", "1/2"):
            words = ["--grid", folder / "plane.yaml", "--events", 6, "--output", folder / "raw", "--workers", 1]
            patch.setattr(sys, "argv", ["simulate.py", *map(str, words), "--task", task])
            assert simulate() == 0
    for place in range(4):
        prepare([folder / "raw" / f"{place:03d}"], folder / "data" / f"{place:03d}.hdf5")
    return folder


def test_a_grid_is_simulated_in_tasks_with_its_settings_as_columns_and_no_id_twice(grid):
    records = open_records(grid / "data")
    assert len(np.unique(records.event_ids)) == len(records) == 24
    walls, kelvin = (records.scalar(name) for name in ("trap_wall_length_m", "noise_temperature_k"))
    assert walls.tolist() == np.repeat([0.30, 0.30, 0.44, 0.44], 6).tolist()
    assert kelvin.tolist() == np.repeat([4.0, 8.0, 4.0, 8.0], 6).tolist()
    manifest = json.loads((grid / "raw" / "003" / "simulation.json").read_text())
    assert manifest["config"]["trap"]["gradient_length_m"] == 0.44
    # what did not vary is a setting too, where the files say it
    data = CresDataModule(str(grid / "data"))
    assert data.settings_of(("cavity_loaded_q",), np.arange(3)).ravel().tolist() == [400.0] * 3
    attributes = {"config": json.dumps(SimulationConfig.default().to_dict())}
    assert abs(_stated(attributes)["noise_temperature_k"] - 5.8843) < 1e-3


def test_estimators_refuse_several_apparatus_at_once(grid, folder):
    for data in (grid / "data", folder):
        with pytest.raises(UserError, match="are of several apparatus, and an estimator knows one"):
            Recordings(str(data))
    Recordings(str(grid / "data" / "000.hdf5"))


def test_files_of_several_configurations_in_one_say_nothing_of_all_rows(grid, tmp_path):
    prepare([grid / "raw" / "000", grid / "raw" / "003"], tmp_path / "both.hdf5")
    records = open_records(tmp_path / "both.hdf5")
    assert records.stated == ()
    assert np.unique(records.scalar("trap_wall_length_m")).tolist() == [0.30, 0.44]
    prepare([grid / "raw" / "000"], tmp_path / "one.hdf5")
    assert "field_t" in open_records(tmp_path / "one.hdf5").stated


def test_a_random_draw_is_a_file_too_and_wrong_ones_are_refused(grid, tmp_path, monkeypatch):
    text = "base: cavity.yaml\nmethod: random\npoints: 3\naxes: {trap.gradient_length_m: {low: 0.2, high: 0.5}}\n"
    (grid / "drawn.yaml").write_text(text)
    drawn = [point.settings["trap_wall_length_m"] for point in points_of(grid / "drawn.yaml")]
    assert len(set(drawn)) == 3
    assert all(0.2 <= value <= 0.5 for value in drawn)
    assert [point.number for point in points_of(grid / "drawn.yaml", (1, 2))] == [1]
    (grid / "wrong.yaml").write_text("base: cavity.yaml\naxes: {trap.gradient_lenght_m: [0.3]}\n")
    with pytest.raises(UserError, match=r"point 0: .*gradient_lenght_m.*gradient_length_m"):
        list(points_of(grid / "wrong.yaml"))
    monkeypatch.setattr(sys, "argv", ["simulate.py", "--task", "0/2", "--output", str(tmp_path)])
    with pytest.raises(UserError, match="--task shares out the points of a --grid"):
        simulate()


def test_equal_ids_in_two_files_are_loud(grid, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.hdf5").write_bytes((grid / "data" / "000.hdf5").read_bytes())
    with pytest.raises(UserError, match="have one event_id"):
        open_records(tmp_path)
