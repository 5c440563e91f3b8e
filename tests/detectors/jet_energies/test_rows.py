"""Jets as rows: whose truth they have, what is in them, one split with candidates, mistakes in a sentence."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.detectors import DetectorEvents
from collider.detectors.jet_energies import files as files_module
from collider.detectors.jet_energies.columns import OBJECT_NUMBERS, OBJECTS
from collider.detectors.jet_energies.data import FlowJetDataModule
from collider.detectors.jet_energies.files import FlowJetFiles
from collider.detectors.jet_energies.tokens import LEAST_GEV, LEAST_SIGMA_GEV, WIDTHS
from collider.detectors.jet_energies.views import JetObjectsView, RulesYardstick
from collider.detectors.learning.data import CandidateDataModule
from collider.detectors.networks import ObjectSetEncoder
from collider.detectors.physics.chain import RULES, TRUTH, Chain
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.flow import by_rules, flow_of
from collider.detectors.physics.jets import jet_ids, nearest_jets
from collider.detectors.physics.objects import objects_of
from reconstruction.errors import UserError

CHANNELS = len(OBJECT_NUMBERS)
NAMED = {name: place for place, name in enumerate(OBJECT_NUMBERS)}


def without(table, path, folder):
    """Return a copy of a file that lacks a table."""
    bare = folder / "bare.hdf5"
    shutil.copy(path, bare)
    with h5py.File(bare, "a") as file:
        del file[table]
        file.attrs["tables"] = json.dumps([name for name in json.loads(file.attrs["tables"]) if name != table])
    return bare


def test_rows_are_the_rules_jets_with_the_true_jet_of_each(few, files):
    """The chain of physics, which makes them by itself, finds the same jets, and pairs them the same way."""
    measured = Chain(DetectorEvents(few), PhysicsConfig()).measured()
    jets, true = measured.jets[RULES], measured.jets[TRUTH]
    identity = jet_ids(DetectorEvents(few).column("event_id"), jets.event)
    place = nearest_jets(true, jets, 0.2)
    paired = np.flatnonzero((place >= 0) & (np.append(jets.pt_gev, 0)[place] >= 10))
    row = {int(one): number for number, one in enumerate(files.event_ids)}
    assert len(row) == len(files) > 200
    assert len(paired) > 200
    for number in paired:
        mine = row[int(identity[place[number]])]
        assert files.scalar("jet_pt_gev")[mine] == pytest.approx(true.pt_gev[number], rel=1e-6)
        assert files.scalar("rules_pt_gev")[mine] == pytest.approx(jets.pt_gev[place[number]], rel=1e-6)
        assert files.event_of_rows[mine] == true.event[number]


def test_an_event_is_in_the_same_part_for_jets_and_candidates(few, rows):
    candidates = CandidateDataModule(data=str(few), inputs=("tracker",))
    parts = {}
    for data in (rows, candidates):
        for name in ("train", "validation", "test"):
            for event in data.records.event_of_rows[getattr(data.split, name)]:
                assert parts.setdefault(int(event), name) == name
    assert sorted(set(parts.values())) == ["test", "train", "validation"]


def test_jets_come_in_pieces_alike(few, files, monkeypatch):
    monkeypatch.setattr(files_module, "PIECE", 25)
    pieces = FlowJetFiles([few / "one.hdf5", few / "two.hdf5"], PhysicsConfig(), 64, 10.0)
    np.testing.assert_array_equal(pieces.event_ids, files.event_ids)
    np.testing.assert_array_equal(pieces.event_of_rows, files.event_of_rows)
    np.testing.assert_array_equal(pieces.inputs(OBJECTS, np.arange(40))[0], files.inputs(OBJECTS, np.arange(40))[0])


def test_what_is_in_a_jet_is_what_a_loop_over_its_event_finds(few, files):
    chain = Chain(DetectorEvents(few), PhysicsConfig())
    part, rules = chain.events[:20], chain.config.flow
    objects = objects_of(part, rules, chain.stations, chain.ecal, chain.tracker.field_t)
    flow = flow_of(objects, rules, by_rules(objects, rules))
    energy = np.concatenate([objects.momentum_gev, objects.energy_gev])
    rows = np.flatnonzero(files.event_of_rows < 20)
    found, lengths = files.inputs(OBJECTS, rows)
    axes = [(files.scalar("eta")[row], files.scalar("phi_rad")[row]) for row in rows]
    for seen, length, row, (eta, phi) in zip(found, lengths, rows, axes, strict=True):
        pt = files.scalar("rules_pt_gev")[row]
        inside = []
        for place in np.flatnonzero(objects.event == files.event_of_rows[row]):
            x, y, z = objects.direction[place]
            turn = (np.arctan2(y, x) - phi + np.pi) % (2 * np.pi) - np.pi
            away = np.hypot(np.arcsinh(z / np.hypot(x, y)) - eta, turn)
            if away < 0.4:
                inside.append((energy[place], away, place))
        inside.sort(reverse=True)
        assert length == 1 + len(inside) or any(  # what is nearer to another jet is that one's
            np.hypot(eta - one, (phi - other + np.pi) % (2 * np.pi) - np.pi) < 0.8
            for one, other in axes
            if (one, other) != (eta, phi)
        )
        if length != 1 + len(inside):
            continue
        np.testing.assert_allclose(seen[0, :2], [pt, abs(eta)], rtol=1e-5)
        assert seen[0, 2] == pytest.approx(sum(one for one, *_ in inside) / pt, rel=1e-5)
        assert not seen[length:].any()
        for token, (gev, away, place) in zip(seen[1:length], inside, strict=True):
            block = objects.block == objects.block[place]
            tracks = sum(objects.momentum_gev[block[: objects.tracks]])
            clusters = objects.energy_gev[block[objects.tracks :]].sum()
            excess = rules.hadron_response.corrected(np.array(clusters)) - tracks
            sigma = max(float(rules.hadron_resolution.of(np.array(tracks))), LEAST_SIGMA_GEV)
            neutral = np.isin(flow.kind, (22, 130)) & block[flow.source]
            cluster = place - objects.tracks
            expected = {
                "track": cluster < 0,
                "ecal": cluster >= 0 and objects.of_ecal[cluster],
                "log_energy": np.log(max(gev, LEAST_GEV)),
                "over_jet_pt": gev / pt,
                "distance": away / 0.4,
                "width": min(objects.width[cluster] * WIDTHS, 3) if cluster >= 0 else 0,
                "own": cluster < 0 or objects.owner[cluster] == place,
                "log_block_tracks_gev": np.log(max(tracks, LEAST_GEV)),
                "block_excess_sigma": np.clip(excess / sigma, -5, 8),
                "block_excess_over_jet_pt": excess / pt,
                "block_neutral_over_jet_pt": flow.energy_gev[neutral].sum() / pt,
            }
            for name, value in expected.items():
                assert token[NAMED[name]] == pytest.approx(float(value), rel=2e-4, abs=2e-4), name


def test_events_without_a_truth_are_jets_all_the_same(few, files, tmp_path):
    bare = without("particles", few / "two.hdf5", tmp_path)
    found = FlowJetFiles([bare], PhysicsConfig(), 64, 10.0)
    assert "jet_pt_gev" not in found.columns
    assert set(files.event_ids[files.starts[1] :]) <= set(found.event_ids)


def test_what_is_learned_is_how_wrong_the_rules_are(rows):
    batch = next(iter(rows.predict_dataloader()))
    yardstick, targets = RulesYardstick(), batch["targets"]
    pt = batch["inputs"][OBJECTS][:, 0, :1].double()
    usual = (0.4**2 / pt + 0.04**2).sqrt()
    torch.testing.assert_close(yardstick.learned(targets, batch["inputs"]), (targets / pt - 1) / usual)
    view = JetObjectsView()(batch["inputs"][OBJECTS])
    torch.testing.assert_close(view.scalars[:, 0].exp(), pt[:, 0].float())
    assert view.series.shape == (32, 64, CHANNELS)


def encoder_of(**more) -> ObjectSetEncoder:
    torch.manual_seed(0)
    made = ObjectSetEncoder(CHANNELS, 6, **more)
    made.fit([(torch.randn(4, 9, CHANNELS), torch.tensor([9, 4, 2, 7]))])
    return made.double().eval()


@torch.no_grad()
def test_a_jet_is_the_sum_of_what_a_perceptron_makes_of_each_object():
    encoder, series = encoder_of(), torch.randn(2, 5, CHANNELS, dtype=torch.float64)
    for row, length in ((0, 5), (1, 3)):
        plain, weighted = torch.zeros(6).double(), torch.zeros(6).double()
        for one in series[row, :length]:
            values = encoder.embed((one - encoder.scales.shift) / encoder.scales.scale)
            for layer in encoder.hidden_layers:
                values = layer(values)
            plain, weighted = plain + values / 8, weighted + values * one[NAMED["over_jet_pt"]]
        found = encoder(series, torch.tensor([5, 3]))[row]
        torch.testing.assert_close(found, torch.cat([plain, weighted]), rtol=1e-9, atol=1e-9)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_neither_order_nor_padding_changes_anything(seed):
    random = torch.Generator().manual_seed(seed)
    encoder, series = encoder_of(), torch.randn(3, 9, CHANNELS, dtype=torch.float64, generator=random)
    lengths = torch.tensor([9, 5, 1])
    together, other = encoder(series, lengths), series.clone()
    for row, length in enumerate(lengths.tolist()):
        other[row, :length] = series[row, torch.randperm(length, generator=random)]
        other[row, length:] = 1e3
    torch.testing.assert_close(encoder(other, lengths), together, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(encoder(series[1:2, :5], None), together[1:2], rtol=1e-9, atol=1e-9)


def test_scales_are_of_objects_that_are_there():
    encoder, series = ObjectSetEncoder(CHANNELS, 4), torch.randn(4, 6, CHANNELS)
    lengths = torch.tensor([6, 1, 3, 2])
    real = torch.cat([series[row, :length] for row, length in enumerate(lengths.tolist())]).double()
    series[torch.arange(6) >= lengths.unsqueeze(1)] = 50.0
    assert not encoder.fitted
    encoder.fit([(series, lengths)])
    assert encoder.fitted
    torch.testing.assert_close(encoder.scales.shift, real.mean(0), rtol=1e-5, atol=1e-6)


def test_what_has_no_jets_is_said(few, tmp_path):
    with pytest.raises(UserError, match=r"none of the 60 events of .* has a jet of 500 GeV or more: lower data"):
        _ = FlowJetDataModule(data=str(few), least_gev=500.0).records
    bare = without("segments", few / "two.hdf5", tmp_path)
    with pytest.raises(UserError, match=r"bare.hdf5 has no table segments: jets are found in tracks, clusters, segm"):
        _ = FlowJetDataModule(data=str(bare)).records
