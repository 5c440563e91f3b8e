"""Rows and batches of candidates: one split for every detector, inputs as loops make them, mistakes in a sentence."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path

import h5py
import made_detectors
import numpy as np
import pytest
import torch

from collider.detectors.learning.columns import DETECTORS, INPUTS, TOKEN_WIDTH
from collider.detectors.learning.data import CandidateDataModule
from collider.detectors.learning.files import CandidateFiles, Choice, candidate_paths
from collider.detectors.learning.views import (
    DetectorYardstick,
    EcalView,
    ExcessView,
    ExcessYardstick,
    HcalView,
    MuonView,
    TogetherView,
    TrackerView,
)
from collider.detectors.schema import ECAL_CELLS, HCAL_CELLS, TRACKER_HITS
from reconstruction.errors import UserError


def module(shots, **options):
    return CandidateDataModule(data=str(shots), batch_size=16, **options)


@pytest.fixture(scope="module")
def everything(shots):
    """Candidates of all files with all inputs."""
    return module(shots, inputs=INPUTS)


def test_an_event_is_in_the_same_part_for_every_detector(shots, everything):
    parts = {}
    chosen = ((("muon",), ("muon",)), (("ecal",), ("photon", "electron")))
    some = (module(shots, inputs=("tracker",), needs=needs, classes=classes) for needs, classes in chosen)
    for data in (everything, *some):
        for name in ("train", "validation", "test"):
            rows = getattr(data.split, name)
            files = data.records.starts.searchsorted(rows, "right")
            numbers = zip(data.records.scalar("event_number")[rows], files, strict=True)
            for key in numbers:
                assert parts.setdefault(key, name) == name
    assert sorted(set(parts.values())) == ["test", "train", "validation"]
    split = everything.split
    assert len(split.train) + len(split.validation) + len(split.test) == len(everything.records)
    by_file = module(shots, inputs=("tracker",), split="file", fractions=(0.6, 0.0, 0.4)).split
    starts = everything.records.starts
    assert {tuple(np.unique(starts.searchsorted(rows, "right"))) for rows in (by_file.train, by_file.test)} == {
        (1,),
        (2,),
    }


def test_a_batch_holds_inputs_masks_targets_and_what_is_known(everything):
    batch = next(iter(everything.rows_dataloader(np.arange(40))))
    assert set(batch["inputs"]) == set(INPUTS)
    for name, values in batch["inputs"].items():
        assert values.dtype == torch.float32
        assert torch.isfinite(values).all()
        mask = batch["masks"][name]
        assert (values[~mask] == 0).all()
        assert mask[:, 0].all()
    assert batch["targets"].shape == (16, 1)
    assert "kalman_momentum_gev" in batch["observables"]


def test_together_is_all_detectors_one_after_the_other(everything):
    rows = np.arange(0, len(everything.records), 7)
    whole, lengths = everything.records.inputs("together", rows)
    for place in range(len(rows)):
        at = len(DETECTORS)
        for kind, name in enumerate(DETECTORS):
            values, count = everything.records.inputs(name, rows[place : place + 1])
            np.testing.assert_array_equal(whole[place, kind, : values.shape[2]], values[0, 0])
            for token in values[0, 1 : count[0]]:
                assert whole[place, at, kind] == 1
                assert whole[place, at, :4].sum() == 1
                np.testing.assert_array_equal(whole[place, at, 4 : 4 + TOKEN_WIDTH[name]], token[: TOKEN_WIDTH[name]])
                at += 1
        assert lengths[place] == at
        assert (whole[place, at:] == 0).all()


def test_tokens_that_are_not_kept_are_made_again(shots, everything):
    poor = module(shots, memory_mb=0.0).records
    rows = np.array([len(poor) - 1, 0, 5])
    for mine, other in zip(poor.inputs("ecal", rows), everything.records.inputs("ecal", rows), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_views_leave_the_lead_to_scalars(everything):
    batch = next(iter(everything.rows_dataloader(np.arange(16))))
    for view in (TrackerView(), EcalView(), HcalView(), MuonView(), TogetherView()):
        series = batch["inputs"][view.reads]
        seen = view(series)
        assert seen.series.shape[2] == view.channels
        assert seen.scalars.shape == (16, view.scalar_count)
        leads = len(DETECTORS) if view.reads == "together" else 1
        assert seen.series.shape[1] == series.shape[1] - leads
        lengths = batch["masks"][view.reads].sum(1)
        assert (view.lengths(lengths, series.shape[1], 0) == lengths - leads).all()


def test_momenta_are_measured_in_the_track_else_in_the_calorimeters(everything):
    batch = next(iter(everything.rows_dataloader(np.arange(64))))
    known = {name: values.numpy() for name, values in batch["observables"].items()}
    kalman, both = known["kalman_momentum_gev"], known["calorimeter_sum_gev"]
    inputs = batch["inputs"]
    size = DetectorYardstick(("momentum_gev", "charge"), "best")(inputs)
    expected = np.where(np.isfinite(kalman), kalman, np.fmax(both, known["ecal_sum_gev"]))
    there = np.isfinite(kalman) | (known["hcal_tokens"] > 0) | (known["ecal_tokens"] > 0)
    np.testing.assert_allclose(size[there, 0], np.maximum(expected, 0.3)[there], rtol=1e-6)
    assert (size[:, 1] == 1).all()
    alone = DetectorYardstick(("momentum_gev",), "best")({"together": inputs["together"]})
    torch.testing.assert_close(alone[:, 0], size[:, 0])
    with pytest.raises(UserError, match=r"measured_in is muon, which needs muon or together among data\.inputs"):
        DetectorYardstick(("momentum_gev",), "muon")({"ecal": inputs["ecal"]})


def test_what_is_learned_is_by_how_many_usual_errors_a_detector_is_wrong(everything):
    """Of a track those of the filter; of clusters and segments the formula; whatever else is learned as it is."""
    batch = next(iter(everything.rows_dataloader(np.arange(64))))
    known = {name: values.numpy() for name, values in batch["observables"].items()}
    track, hcal = np.isfinite(known["kalman_momentum_gev"]), known["hcal_tokens"] > 0
    targets = torch.cat([batch["targets"], torch.ones_like(batch["targets"])], dim=1)
    yardstick = DetectorYardstick(("momentum_gev", "charge"), "best")
    learned = yardstick.learned(targets, batch["inputs"])
    size = yardstick(batch["inputs"])[:, 0].numpy()
    light, hadron = (np.sqrt(a**2 / size + b**2) * size for a, b in ((0.2, 0.05), (1.0, 0.1)))
    error = np.where(track, known["kalman_momentum_error_gev"], np.where(hcal, hadron, light))
    np.testing.assert_allclose(learned[:, 0], (batch["targets"][:, 0].numpy() - size) / error, rtol=1e-4, atol=1e-5)
    assert (learned[:, 1] == 0).all()
    slope, start = yardstick.line(batch["inputs"])
    torch.testing.assert_close(start + slope * learned, targets)
    muons = DetectorYardstick(("momentum_gev",), "muon").errors(batch["inputs"])
    torch.testing.assert_close(muons, torch.full_like(muons, 0.3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ("traker",)}, r"data\.inputs names 'traker'.*tracker"),
        ({"inputs": ()}, r"data\.inputs is empty"),
        ({"inputs": ("ecal", "ecal")}, r"data\.inputs names ecal twice"),
        ({"needs": ("together",)}, r"data\.needs names 'together'"),
        ({"classes": ("electrons",)}, r"data\.classes names 'electrons'.*electron"),
        ({"least_gev": 1e4}, r"none of the 36 events of .* has a candidate"),
        ({"targets": ("momentum",)}, r"no target momentum"),
        ({"targets": ("untracked_gev", "momentum_gev")}, r"untracked_gev, which .* give it without other targets"),
        ({"targets": ("untracked_gev",), "classes": ("photon",)}, r"untracked_gev, which .* without data\.classes"),
    ],
)
def test_mistakes_are_said_in_a_sentence(shots, options, message):
    with pytest.raises(UserError, match=message):
        module(shots, **options).setup("fit")


def test_energies_without_a_track_are_measured_in_what_clusters_hold_beyond_the_track(shots):
    """The twin in words, candidate by candidate: narrow clusters are photons, others hadrons, tracks are taken off."""
    found = module(shots, targets=("untracked_gev",), inputs=("neighbours",), least_gev=0.5)
    found.setup("fit")
    narrow_ones, view = 0, ExcessView()
    for batch in found.rows_dataloader(np.arange(len(found.records))):
        sigma, start = ExcessYardstick().line(batch["inputs"])
        known = {name: np.nan_to_num(values.numpy()) for name, values in batch["observables"].items()}
        leads = batch["inputs"]["neighbours"][:, 1].double().numpy()
        names = ("ecal_sum_gev", "hcal_sum_gev", "kalman_momentum_gev")
        for row, (ecal, hcal, momentum) in enumerate(zip(*(known[name] for name in names), strict=True)):
            width = 0.05 * np.sqrt((leads[row, 5] ** 2 + leads[row, 6] ** 2) / 2)
            narrow = ecal > 0 and width <= 0.013 and np.expm1(leads[row, 2]) <= 0.2 * ecal and hcal <= 0.2 * ecal
            both = ecal + hcal
            energy = 1.02 * ecal + 0.17 * np.sqrt(ecal) if narrow else 1.12 * both + 1.66 * both**0.19
            wide = np.hypot(0.92 * np.sqrt(momentum + energy), 0.03 * (momentum + energy))
            wanted = 0.075 * np.sqrt(energy) if narrow and momentum == 0 else wide
            assert float(start[row, 0]) == pytest.approx(max(energy - momentum, 0), rel=1e-3, abs=1e-3)
            assert float(sigma[row, 0]) == pytest.approx(max(wanted, 0.05), rel=1e-3)
            narrow_ones += narrow
        scalars = view(batch["inputs"]["neighbours"]).scalars
        assert scalars.shape[1] == view.scalar_count
        torch.testing.assert_close(scalars[:, -3].exp().double(), sigma[:, 0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(scalars[:, -1].double().sinh().clamp(min=0), start[:, 0], rtol=1e-4, atol=1e-3)
    assert 20 < narrow_ones < len(found.records) - 20


def test_rows_of_energies_without_a_track_are_candidates_with_clusters(shots):
    found = module(shots, targets=("untracked_gev",), inputs=("neighbours",), least_gev=2.0)
    found.setup("fit")
    assert (found.records.scalar("calorimeter_sum_gev") >= 2).all()
    softer = np.nan_to_num(found.records.scalar("kalman_momentum_gev"), nan=3.0) < 2
    assert "identity" not in found.records.columns
    assert len(found.records) > 60
    assert (found.records.scalar("untracked_gev") >= 0).all()
    assert not softer.all()


def test_files_that_lack_a_table_are_refused(tmp_path):
    sample = dataclasses.replace(made_detectors.SAMPLE, tables=("tracks", "clusters", "particles"))
    path = made_detectors.write(tmp_path / "few.hdf5", 2, sample=sample)
    with pytest.raises(UserError, match=r"few\.hdf5 has no table tracker_hits: networks read"):
        CandidateFiles([path], Choice())
    with pytest.raises(UserError, match=r"there is no file of events at .*nothing"):
        candidate_paths(str(tmp_path / "nothing"))


def test_rows_without_truth_are_reconstructed_and_not_chosen_by_it(tmp_path):
    tables = tuple(name for name in made_detectors.SAMPLE.tables if name != "particles")
    path = made_detectors.write(
        tmp_path / "bare.hdf5", 3, sample=dataclasses.replace(made_detectors.SAMPLE, tables=tables)
    )
    data = module(path)
    assert not data.labelled
    assert "targets" not in next(iter(data.predict_dataloader()))
    with pytest.raises(UserError, match=r"data\.classes chooses by what is true"):
        CandidateFiles([path], Choice(classes=("muon",)))


def test_files_whose_rows_stand_in_any_order_are_read_alike(shots, tmp_path):
    """As those of former versions: candidates and what is seen of them do not depend on the order of hits and cells."""
    path = shutil.copy(shots / "one.hdf5", tmp_path)
    random = np.random.default_rng(3)
    with h5py.File(path, "r+") as file:
        for name in (TRACKER_HITS, ECAL_CELLS, HCAL_CELLS):
            own, offsets = file[name], file[name]["offsets"][()]
            order = np.concatenate([random.permutation(np.arange(*pair)) for pair in itertools.pairwise(offsets)])
            for column in set(own) - {"offsets"}:
                own[column][...] = own[column][()][order]
    sorted_rows, mixed = (CandidateFiles([Path(one)], Choice()) for one in (shots / "one.hdf5", path))
    np.testing.assert_array_equal(sorted_rows.event_ids, mixed.event_ids)
    rows = np.arange(len(mixed))
    for detector in DETECTORS:
        (one, counts), (other, again) = sorted_rows.inputs(detector, rows), mixed.inputs(detector, rows)
        np.testing.assert_array_equal(counts, again)
        np.testing.assert_allclose(np.sort(one, axis=1), np.sort(other, axis=1), rtol=1e-4, atol=1e-4)
