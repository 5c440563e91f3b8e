"""Samples as rows: what backgrounds are told, folds, balance, and what is wrong with files in one sentence."""

from __future__ import annotations

import json
import shutil

import h5py
import higgs_samples
import numpy as np
import pytest
import torch

from collider.higgs.learning.data import HiggsDataModule, split_by_fold
from collider.higgs.learning.files import SIGNAL, EventFiles, difficulty
from collider.higgs.learning.samples import event_paths
from collider.higgs.learning.views import CHANNELS, OBJECTS, ObjectsView, Turned
from collider.higgs.making.samples import MASSES
from reconstruction.errors import UserError
from reconstruction.random.keyed import KeyedRandom
from reconstruction.training.stages.run import apparatus_of


def rows_of(data: HiggsDataModule, epoch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return the observables of an epoch's batches, by name."""
    data.seed = seed
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    names = batches[0]["observables"]
    joined = {name: torch.cat([batch["observables"][name] for batch in batches]) for name in names}
    return joined | {"event_id": torch.cat([batch["event_id"] for batch in batches])}


@pytest.fixture
def data(samples) -> HiggsDataModule:
    return HiggsDataModule(str(samples), batch_size=64)


def test_the_manifest_says_what_is_trained_on(data):
    assert data.records.points == list(higgs_samples.POINTS)
    assert len(data.records) == 6 * 200
    every = HiggsDataModule(data.data, points=((145.0, 92.0), (170.0, 97.0)))
    assert every.records.points == [(145.0, 92.0), (170.0, 97.0)]


def test_backgrounds_are_told_masses_of_the_signals_anew_each_epoch(data):
    first, second, again = rows_of(data, 0), rows_of(data, 1), rows_of(data, 0)
    for name in MASSES:
        assert torch.equal(first[name], again[name])
    kinds = data.records.scalar("class")
    of = dict(zip(data.records.event_ids.tolist(), kinds.tolist(), strict=True))
    told: dict[int, set[tuple[float, float]]] = {}
    for epoch in (first, second):
        masses = torch.stack([epoch[name] for name in MASSES], dim=1).tolist()
        for event, point in zip(epoch["event_id"].tolist(), masses, strict=True):
            assert tuple(point) in higgs_samples.POINTS
            told.setdefault(event, set()).add(tuple(point))
    assert {len(points) for event, points in told.items() if of[event] == SIGNAL} == {1}
    assert max(len(points) for event, points in told.items() if of[event] != SIGNAL) > 1
    frozen = HiggsDataModule(data.data, batch_size=64, redraw=False)
    told_once = rows_of(frozen, 3)
    column = dict(zip(frozen.records.event_ids.tolist(), frozen.records.scalar(MASSES[1]).tolist(), strict=True))
    pairs = zip(told_once["event_id"].tolist(), told_once[MASSES[1]].tolist(), strict=True)
    assert all(column[event] == mass for event, mass in pairs)


def test_what_is_told_gives_no_class_away(samples):
    """The masses of backgrounds are spread as those of the signals: chance decides, no more."""
    files = EventFiles(event_paths(str(samples)), higgs_samples.POINTS)
    kinds, mass = files.scalar("class"), files.scalar(MASSES[1])
    for kind in (1, 2, 3):
        counts = np.unique(mass[kinds == kind], return_counts=True)[1]
        assert len(counts) == 3
        assert (np.abs(counts - 200 / 3) < 4 * np.sqrt(200 / 3 * 2 / 3)).all()


def test_each_class_and_each_point_comes_as_often(samples, tmp_path):
    shutil.copytree(samples, tmp_path / "data")
    # one background and one signal are rarer than the others
    for name, kind, seed, point in (("ttx", "ttx", 102, (0, 0)), ("signal_130_90", "signal", 1, (130.0, 90.0))):
        higgs_samples.write_sample(tmp_path / "data" / name, higgs_samples.events(kind, 40, seed, point))
    data = HiggsDataModule(str(tmp_path / "data"), batch_size=64)
    observables = rows_of(data, 0)
    kinds = dict(zip(data.records.event_ids.tolist(), data.records.scalar("class").tolist(), strict=True))
    drawn = np.array([kinds[event] for event in observables["event_id"].tolist()])
    counts = np.bincount(drawn)
    assert counts.max() - counts.min() <= 6
    points = np.unique(observables[MASSES[0]].numpy()[drawn == SIGNAL], return_counts=True)[1]
    assert points.max() - points.min() <= 1


def test_masses_that_no_signal_has_are_told_to_no_background(data):
    """A curriculum that begins with wide gaps draws no signal of a narrow one: to be told one gives the class away."""
    loader = data.train_dataloader()
    ease = data.records.scalar("difficulty")[data.split.train]
    loader.order_by_ease(np.argsort(ease, kind="stable"))
    loader.use_easiest(0.4)
    kinds = dict(zip(data.records.event_ids.tolist(), data.records.scalar("class").tolist(), strict=True))
    told: dict[bool, set[float]] = {True: set(), False: set()}
    for batch in loader:
        for event, mass in zip(batch["event_id"].tolist(), batch["observables"][MASSES[1]].tolist(), strict=True):
            told[kinds[event] == SIGNAL].add(mass)
    assert told[False] <= told[True]
    assert len(told[True]) < len(higgs_samples.POINTS)


def test_backgrounds_are_told_rare_points_as_rarely_where_nothing_is_balanced(samples, tmp_path):
    shutil.copytree(samples, tmp_path / "data")
    rare = higgs_samples.events("signal", 20, 1, (130.0, 90.0))
    higgs_samples.write_sample(tmp_path / "data" / "signal_130_90", rare)
    data = HiggsDataModule(str(tmp_path / "data"), batch_size=64, balanced=False)
    kinds = dict(zip(data.records.event_ids.tolist(), data.records.scalar("class").tolist(), strict=True))
    told: dict[bool, list[bool]] = {True: [], False: []}
    for epoch in range(4):
        drawn = rows_of(data, epoch)
        for event, mass in zip(drawn["event_id"].tolist(), drawn[MASSES[1]].tolist(), strict=True):
            told[kinds[event] == SIGNAL].append(mass == 90.0)
    shares = [float(np.mean(told[signal])) for signal in (True, False)]
    assert shares[0] == pytest.approx(20 / 420, abs=1e-9)
    assert abs(shares[1] - shares[0]) < 4 * np.sqrt(shares[0] / len(told[False]) * 4)


def test_validation_is_of_the_same_mixture(data):
    """Classes and points are equally frequent, an event that comes again is told other masses, always the same ones."""
    batches = list(data.val_dataloader())
    assert sum(len(batch["event_id"]) for batch in batches) == len(data.split.validation)
    kinds = torch.cat([batch["targets"][:, 0] for batch in batches]).numpy()
    counts = np.unique(kinds, return_counts=True)[1]
    assert counts.max() - counts.min() <= 3
    assert {fold for batch in batches for fold in batch["observables"]["fold"].tolist()} == {1}
    again = list(data.val_dataloader())
    for name in MASSES:
        assert all(
            torch.equal(a["observables"][name], b["observables"][name]) for a, b in zip(batches, again, strict=True)
        )


def test_folds_are_split_and_channels_are_chosen(data):
    folds = data.records.scalar("fold")
    assert set(folds[data.split.test]) == {0}
    assert set(folds[data.split.validation]) == {1}
    assert set(folds[data.split.train]) == {2, 3, 4}
    other = HiggsDataModule(data.data, fold=4)
    assert set(other.records.scalar("fold")[other.split.validation]) == {0}
    assert len(HiggsDataModule(data.data, channels=("1e2mu",)).records) == len(data.records)
    with pytest.raises(UserError, match="no events"):
        len(HiggsDataModule(data.data, channels=("3mu",)).records)
    with pytest.raises(UserError, match=r"names '4mu'.*knows 1e2mu, 3mu"):
        len(HiggsDataModule(data.data, channels=("4mu",)).records)
    with pytest.raises(UserError, match="folds 0 to 4"):
        split_by_fold(folds, 5)
    with pytest.raises(UserError, match="need 3"):
        split_by_fold(folds % 2, 0)


def test_one_point_alone_has_all_backgrounds_and_tells_them_its_masses(data):
    groups = apparatus_of(data)
    assert len(groups) == 3
    assert all(len(files) == 1 + 3 for files in groups)
    one = HiggsDataModule(data.data, batch_size=64, only=groups[0])
    assert one.records.points == [higgs_samples.POINTS[0]]
    observables = rows_of(one, 0)
    for name, value in zip(MASSES, higgs_samples.POINTS[0], strict=True):
        assert set(observables[name].tolist()) == {value}


def test_objects_beyond_those_of_an_event_are_padding(data):
    batch = next(iter(data.val_dataloader()))
    objects, mask = batch["inputs"][OBJECTS], batch["masks"][OBJECTS]
    pt = objects[..., CHANNELS.index("object_pt_gev")]
    assert (pt[~mask] == 0).all()
    assert (pt[mask] > 0).all()
    view = ObjectsView()
    assert torch.equal(view.lengths_told(objects), mask.sum(1))
    made = view(objects)
    assert made.series.shape[-1] == view.channels
    assert torch.equal(made.scalars[:, 1], mask[:, 1:].sum(1).float())


def test_a_file_of_several_points_gives_those_that_are_wanted(samples, tmp_path):
    both = [higgs_samples.events("signal", 30, seed, point) for seed, point in enumerate(higgs_samples.POINTS[:2])]
    joined = {name: np.concatenate([one[name] for one in both]) for name in both[0]}
    path = higgs_samples.write_sample(tmp_path / "both", joined)
    backgrounds = [str(samples / name) for name in higgs_samples.BACKGROUNDS]
    one = HiggsDataModule([str(path), *backgrounds], points=higgs_samples.POINTS[:1]).records
    assert one.points == [higgs_samples.POINTS[0]]
    assert (one.scalar("class") == SIGNAL).sum() == 30
    np.testing.assert_array_equal(
        one.objects(np.flatnonzero(one.scalar("class") == SIGNAL))[:, 1, -3], both[0]["object_pt_gev"][:, 0]
    )


def test_files_that_a_manifest_does_not_list_are_left_over(samples, tmp_path):
    """Of a sample that was larger before: their weights are shares of that."""
    shutil.copytree(samples, tmp_path / "data")
    manifest = json.loads((tmp_path / "data" / "samples.json").read_text())
    for name, entry in manifest["samples"].items():
        entry["files"] = [f"{name}/events_0000.hdf5"]
    (tmp_path / "data" / "samples.json").write_text(json.dumps(manifest))
    left = higgs_samples.events("ttx", 50, 300)
    higgs_samples.write_sample(tmp_path / "data" / "left", left).rename(tmp_path / "data" / "ttx" / "events_0001.hdf5")
    data = HiggsDataModule(str(tmp_path / "data"))
    assert (data.records.scalar("class") == 3).sum() == 200
    (tmp_path / "data" / "diboson" / "events_0000.hdf5").unlink()
    with pytest.raises(UserError, match=r"lists .*diboson/events_0000.hdf5, which is not there"):
        len(HiggsDataModule(str(tmp_path / "data")).records)


def test_a_checkpoint_says_points_channels_and_fold(samples):
    """An ensemble is calibrated on the validation fold of its training, whatever is predicted."""
    trained = HiggsDataModule(str(samples), fold=2, channels=("1e2mu",))
    now = HiggsDataModule(str(samples), points=((170.0, 97.0),)).as_trained(trained.file_facts(), ("class",))
    assert now.records.points == trained.records.points
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(now.split, part), getattr(trained.split, part))


def test_memory_for_objects_may_be_bounded(samples, data):
    few = HiggsDataModule(str(samples), batch_size=64, memory_mb=0.2)
    rows = np.arange(len(data.records))[::7]
    np.testing.assert_array_equal(few.records.objects(rows), data.records.objects(rows))
    assert 0 < len(few.records._objects) < len(few.records.files)


def test_an_event_that_is_turned_keeps_its_masses():
    random = KeyedRandom(0, 0, torch.arange(6))
    series = torch.rand(6, 5, len(CHANNELS)) + 0.1
    turned = Turned()(series, random)
    before, after = (pair_masses(one) for one in (series, turned))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    assert not torch.equal(turned[..., -1], series[..., -1])
    assert torch.equal(turned[..., :-2], series[..., :-2])


def pair_masses(series: torch.Tensor) -> torch.Tensor:
    pt, eta, phi = (series[..., place] for place in (-3, -2, -1))
    product = pt[:, :, None] * pt[:, None]
    return 2 * product * (torch.cosh(eta[:, :, None] - eta[:, None]) - torch.cos(phi[:, :, None] - phi[:, None]))


def test_weights_are_relative_and_difficult_where_the_gap_is_small(data):
    relative, kinds = data.records.scalar("relative_weight"), data.records.scalar("class")
    for kind in range(4):
        assert relative[kinds == kind].mean() == pytest.approx(1)
    # 1/(15/100 + 0.1) and 1/(5/100 + 0.1)
    assert difficulty(np.array(100.0), np.array(85.0)) == pytest.approx(4)
    assert difficulty(np.array(100.0), np.array(95.0)) == pytest.approx(1 / 0.15)
    hard, easy = (data.records.scalar("difficulty_weight")[data.records.scalar(MASSES[0]) == one] for one in (115, 160))
    assert hard.mean() > easy.mean()


def broken(samples, tmp_path, change) -> HiggsDataModule:
    """Return the data module of samples of which one file was changed."""
    shutil.copytree(samples, tmp_path / "data")
    with h5py.File(tmp_path / "data" / "diboson" / "events_0000.hdf5", "r+") as file:
        change(file)
    return HiggsDataModule(str(tmp_path / "data"))


def replaced(name, change):
    def apply(file):
        values = file[name][()]
        del file[name]
        file[name] = change(values)

    return apply


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            replaced("weight", lambda w: np.where(np.arange(len(w)) == 3, -1.0, w)),
            r"row 3, column weight: -1 weighs no",
        ),
        (replaced("weight", lambda w: w * np.nan), "row 0, column weight: nan weighs no event"),
        (replaced("weight", lambda w: 0 * w), "the weights sum to zero"),
        (replaced("weight", lambda w: w[:9]), "column weight has 9 rows, and event_id has 200"),
        (replaced("object_pt_gev", lambda w: w[:9]), "column object_pt_gev has 9 rows"),
        (replaced("class", lambda w: w + 7), "row 0, column class: 9 is none of 0 signal, 1 nonprompt"),
        (replaced("event_id", lambda w: w[:1].repeat(len(w))), "is in .*diboson.* and in .*diboson"),
        (lambda file: file.__delitem__("fold"), "has no column fold"),
        (lambda file: file.__setitem__("mine", np.zeros(200)), "has a column mine and .* has not"),
        (replaced("weight", lambda w: w.astype("S8")), "column weight is to hold one number a row"),
        (replaced("weight", lambda w: w[0]), "has no column weight"),
        (lambda file: file.move("weight", "inner/weight"), "has no column weight"),
        (replaced("object_eta", lambda w: w[:, 0]), "column object_eta is to hold a number for each object"),
        (replaced("object_eta", lambda w: w[:, :9]), "object_eta has 9 places for objects, and object_kind has 14"),
        (
            lambda file: [replaced(name, lambda w: w[:, :9])(file) for name in CHANNELS],
            "has places for 14 objects and .* for 9: make both",
        ),
        (replaced("missing_pt_gev", lambda w: w * np.nan), "row 0, column missing_pt_gev: nan is no value of it"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(samples, tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        len(broken(samples, tmp_path, change).records)


def test_objects_and_masses_that_are_no_numbers_are_one_sentence(samples, tmp_path):
    columns = higgs_samples.events("ttx", 9, 500)
    columns["object_pt_gev"][4, 2] = np.nan
    records = EventFiles([higgs_samples.write_sample(tmp_path / "one", columns)])
    with pytest.raises(UserError, match="row 4, column object_pt_gev: holds NaN"):
        records.objects(np.arange(2))
    signal = higgs_samples.events("signal", 9, 501, (130.0, 90.0))
    signal["mass_a_gev"][3] = np.nan
    with pytest.raises(UserError, match="row 3, column mass_a_gev: nan is no value"):
        EventFiles([higgs_samples.write_sample(tmp_path / "other", signal)])
    with pytest.raises(UserError, match=r"no file of events at .*absent"):
        len(HiggsDataModule([str(samples), str(tmp_path / "absent")]).records)


def test_what_is_missing_is_one_sentence(samples, tmp_path):
    with pytest.raises(UserError, match=r"no events of the mass point \(120, 90\) GeV.*\(115, 85\).*higgs.py"):
        len(HiggsDataModule(str(samples), points=((120.0, 90.0),)).records)
    with pytest.raises(UserError, match=r"there is no file of events at .*nowhere"):
        len(HiggsDataModule(str(tmp_path / "nowhere")).records)
    with pytest.raises(UserError, match="names 'muons'"):
        HiggsDataModule(str(samples), backgrounds=("muons",))
    shutil.copytree(samples, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "ttx")
    data = HiggsDataModule(str(tmp_path / "data"))
    with pytest.raises(UserError, match=r"no events of the background ttx to train on.*leave it out"):
        data.setup("fit")
    HiggsDataModule(str(tmp_path / "data"), backgrounds=("nonprompt", "diboson")).setup("fit")
    (tmp_path / "data" / "samples.json").write_text("{")
    with pytest.raises(UserError, match="is no JSON file"):
        len(HiggsDataModule(str(tmp_path / "data")).records)
    (tmp_path / "data" / "samples.json").write_text(json.dumps({"samples": {}}))
    assert len(HiggsDataModule(str(tmp_path / "data")).records.points) == 5
    (tmp_path / "empty.hdf5").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        len(HiggsDataModule(str(tmp_path / "empty.hdf5")).records)
    one = sorted((samples / "ttx").iterdir())[0]
    with pytest.raises(UserError, match="twice"):
        len(HiggsDataModule([str(one), str(one)]).records)
