"""Files of jets: ours, those of JetClass, and those that are none."""

from __future__ import annotations

import h5py
import made_jets
import numpy as np
import pytest

from collider.generation.wheels import wheel
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.files import JetTable, jet_paths
from collider.jets.making.classes import LABELS
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.errors import UserError


def test_particles_are_those_of_the_file(jets):
    module = JetDataModule(str(jets), particles=10, batch_size=8)
    batch = next(iter(module.predict_dataloader()))
    with h5py.File(jets) as file:
        number = np.minimum(file["jet_nparticles"][:8], 10)
        np.testing.assert_array_equal(batch["masks"]["particles"].sum(1), number)
        for place, name in enumerate(PARTICLE_COLUMNS):
            np.testing.assert_array_equal(batch["inputs"]["particles"][..., place], file[name][:8, :10])
        np.testing.assert_array_equal(batch["targets"][:, 0], np.arange(8))
        np.testing.assert_allclose(batch["observables"]["jet_mass"], file["jet_mass"][:8])
    assert not {*LABELS} & set(batch["observables"])
    assert "event_id" not in batch["observables"]


def test_the_split_keeps_the_jets_that_are_trained_on(jets):
    whole, few = JetDataModule(str(jets)), JetDataModule(str(jets), training_jets=50)
    assert len(whole.split.train) == 720
    assert len(few.split.train) == 50
    assert set(few.split.train) < set(whole.split.train)
    np.testing.assert_array_equal(few.split.test, whole.split.test)
    with pytest.raises(UserError, match=r"data.training_jets is 1000, but the training split has 720 jets"):
        JetDataModule(str(jets), training_jets=1000).setup("fit")
    judging = JetDataModule(str(jets), training_jets=1000)  # of other data, which nothing is trained on
    judging.setup("test")
    np.testing.assert_array_equal(judging.split.test, whole.split.test)


def test_labels_are_counted_where_they_validate_too(jets):
    """Each seed has its own labels, few of them are some of many, and the test split stays."""
    few, many, other = (
        JetDataModule(str(jets), training_jets=count, validation_jets=count // 4, label_seed=seed).split
        for count, seed in ((40, 1), (80, 1), (40, 2))
    )
    assert (len(few.train), len(few.validation)) == (40, 10)
    assert set(few.train) < set(many.train)
    assert set(few.validation) < set(many.validation)
    assert set(few.train) != set(other.train)
    np.testing.assert_array_equal(few.test, JetDataModule(str(jets)).split.test)
    with pytest.raises(UserError, match=r"data.validation_jets is 91, but the validation split has 90 jets"):
        JetDataModule(str(jets), validation_jets=91).setup("fit")


@pytest.mark.parametrize("name", ["particles", "training_jets", "validation_jets"])
@pytest.mark.parametrize("count", [0, -5])
def test_numbers_of_nothing_are_refused(jets, name, count):
    """From the end of a list −5 would be all but five."""
    with pytest.raises(UserError, match=rf"data.{name} is {count}, but must be 1 or more"):
        JetDataModule(str(jets), **{name: count})


def test_the_hardest_particles_are_kept_whatever_the_order(tmp_path):
    """A file whose particles stand in another order is read as the same jets."""
    columns = made_jets.columns(20)
    order = np.argsort(np.random.default_rng(0).random(columns["part_px"].shape) + (columns["part_energy"] <= 0), 1)
    shuffled = {name: np.take_along_axis(columns[name], order, 1) for name in PARTICLE_COLUMNS}
    one = JetTable([made_jets.write(tmp_path / "a.hdf5", 20)], 6)
    other = JetTable([made_jets.write(tmp_path / "b.hdf5", 20, **shuffled)], 6)
    np.testing.assert_array_equal(one.particles, other.particles)
    np.testing.assert_array_equal(one.content_hashes(), other.content_hashes())
    assert len(np.unique(one.content_hashes())) == 20
    fewer = JetTable([tmp_path / "a.hdf5"], 2)
    np.testing.assert_array_equal(fewer.content_hashes(), one.content_hashes())  # or splits would differ


@pytest.fixture
def root(wheels, tmp_path):
    """The same jets in the layout of JetClass: lists of particles in a tree."""
    uproot, ak = pytest.importorskip("uproot"), wheel("awkward")
    columns = made_jets.columns(30)
    number = columns["jet_nparticles"]
    held = {
        name: ak.unflatten(values[np.arange(values.shape[1]) < number[:, None]], number)
        for name, values in columns.items()
        if name in PARTICLE_COLUMNS
    }
    own = ("event_id", "jet_genmass", "jet_mass")
    flat = {name: values for name, values in columns.items() if name not in held and name not in own}
    flat |= {name: flat[name].astype(bool) for name in LABELS}

    def write(name, **changed):
        with uproot.recreate(tmp_path / name) as file:
            file["tree"] = {key: values for key, values in (held | flat | changed).items() if values is not None}
        return tmp_path / name

    return write


def test_a_file_of_jetclass_is_read_as_ours(root, tmp_path):
    """Round trip by uproot: particles, classes and quantities; the mass of the sum is made of the particles."""
    ours = JetTable([made_jets.write(tmp_path / "ours.hdf5", 30)], 40)
    theirs = JetTable([root("theirs.root")], 40)
    np.testing.assert_array_equal(theirs.particles, ours.particles)
    np.testing.assert_array_equal(theirs.scalar("jet_class"), ours.scalar("jet_class"))
    np.testing.assert_allclose(theirs.scalar("jet_sdmass"), ours.scalar("jet_sdmass"))
    np.testing.assert_allclose(theirs.scalar("jet_mass"), ours.scalar("jet_mass"), rtol=1e-5)
    np.testing.assert_array_equal(theirs.event_ids, theirs.content_hashes())
    module = JetDataModule(str(tmp_path / "theirs.root"), fractions=(0.6, 0.2, 0.2))
    assert len(module.split.train) == 18
    with pytest.raises(UserError, match="have no target jet_genmass"):
        JetDataModule(str(tmp_path / "theirs.root"), targets=("jet_class", "jet_genmass")).setup("fit")


def test_root_files_that_are_none_are_one_sentence(root, tmp_path):
    (tmp_path / "text.root").write_text("nothing of the kind\n" * 40)
    (tmp_path / "empty.root").touch()
    whole = root("whole.root").read_bytes()
    (tmp_path / "cut.root").write_bytes(whole[: len(whole) // 3])
    root("missing.root", part_dzerr=None)
    uproot = pytest.importorskip("uproot")
    with uproot.recreate(tmp_path / "other.root") as file:
        file["events"] = {"x": np.arange(3)}
    for name in ("text", "empty", "cut", "missing", "other"):
        with pytest.raises(UserError, match=rf"{name}\.root") as raised:
            JetTable([tmp_path / f"{name}.root"], 10)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="no tree called 'tree', as files of JetClass do; it has events"):
        JetTable([tmp_path / "other.root"], 10)
    with pytest.raises(UserError, match="has no column part_dzerr"):
        JetTable([tmp_path / "missing.root"], 10)


def _changed(name, row, place, value):
    columns = made_jets.columns(12)
    columns[name][row, place] = value
    return {name: columns[name]}


BROKEN = {
    "nan": (lambda: _changed("part_px", 3, 1, np.nan), r"row 3, column part_px: holds NaN or infinity"),
    "gap": (lambda: _changed("part_energy", 4, 1, 0), r"row 4: particles without energy .* stand before others"),
    "energy": (
        lambda: {"part_energy": 0.5 * made_jets.columns(12)["part_energy"]},
        r"row 0: particle 0 has .* GeV of energy \(column part_energy\) and .* GeV of momentum, which no particle has",
    ),
    "missing": (lambda: {"part_d0err": None}, r"has no column part_d0err: jets have the columns of JetClass"),
    "shape": (lambda: {"part_pz": np.ones((12, 3))}, r"column part_pz has the shape \(12, 3\)"),
    "text": (lambda: {"part_pz": np.full((12, made_jets.MOST), b"x")}, r"column part_pz holds no numbers"),
    "one number": (lambda: {"part_pz": np.float32(1)}, r"column part_pz has the shape \(\)"),
    "rows": (lambda: {"jet_pt": np.ones(7)}, r"column jet_pt has the shape \(7,\)"),
    "labels": (lambda: {"label_QCD": np.ones(12)}, r"row 1: 2 of the columns label_QCD to label_Tbl are 1"),
    "empty": (lambda: {"part_energy": np.zeros((12, made_jets.MOST))}, r"row 0: the jet has no particle"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_file_is_one_sentence(case, tmp_path):
    changed, message = BROKEN[case]
    path = made_jets.write(tmp_path / "bad.hdf5", 12, **changed())
    with pytest.raises(UserError, match=message) as raised:
        JetTable([path], made_jets.MOST)
    assert "bad.hdf5" in str(raised.value)


def test_files_that_do_not_fit_are_told(jets, tmp_path):
    with pytest.raises(UserError, match=r"there is no file of jets at nowhere.*scripts/jets.py"):
        JetDataModule("nowhere").setup("fit")
    with pytest.raises(UserError, match=r"names .* twice"):
        jet_paths([str(jets), str(jets.parent)])
    folders = f"{jets.parent.parent}/{jets.parent.name[:-1]}?"
    assert jet_paths(f"{folders}/{jets.name}") == jet_paths(folders) == [jets]
    with pytest.raises(UserError, match=r"no file of jets at .*nothing\*:"):  # though there is one at the other place
        jet_paths([str(jets), str(tmp_path / "nothing*")])
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(UserError, match=r"text.hdf5 cannot be read as HDF5"):
        JetTable([tmp_path / "text.hdf5"], 10)
    none = {name: values[:0] for name, values in made_jets.columns(3).items()}
    with pytest.raises(UserError, match=r"none.hdf5 holds no jets"):
        JetTable([made_jets.write(tmp_path / "none.hdf5", 3, **none)], 10)


def test_jets_without_labels_can_be_read(tmp_path):
    path = made_jets.write(tmp_path / "new.hdf5", 12, **dict.fromkeys((*LABELS, "jet_genmass")))
    module = JetDataModule(str(path))
    assert "jet_class" not in module.records.columns
    assert "targets" not in next(iter(module.predict_dataloader()))


def test_generated_jets_are_read(generated):
    table = JetTable(jet_paths(str(generated)), 40)
    assert len(table) == 16
    assert sorted(np.unique(table.scalar("jet_class"))) == [0, 8]
    assert len(np.unique(table.content_hashes())) == 16
