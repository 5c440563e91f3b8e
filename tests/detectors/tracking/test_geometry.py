"""A tracker from YAML, and what it cannot be."""

from __future__ import annotations

import pytest

from collider.detectors.gun import shot
from collider.detectors.tracking import BeamSpot, Finding, SeedPass, Tracker, TrackerLayer
from reconstruction.errors import UserError

LAYER = "{radius_mm: %s, half_length_mm: 1000, rphi_um: 10, z_um: 20, thickness_x0: 0.02}"


def test_a_file_says_what_differs(tmp_path) -> None:
    path = tmp_path / "tracker.yaml"
    rows = "\n".join(f"  - {LAYER % radius}" for radius in (40, 80, 120, 160))
    path.write_text(f"field_t: 2.0\nlayers:\n{rows}\nbeam_spot: {{z_mm: 30}}\n")
    tracker = Tracker.from_yaml(path)
    assert tracker.radii_mm.tolist() == [40, 80, 120, 160]
    assert (tracker.field_t, tracker.beam_spot.z_mm, tracker.layers[0].efficiency) == (2.0, 30, 0.99)
    path.write_text("")
    assert Tracker.from_yaml(path) == Tracker()
    assert len(Tracker().layers) == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layers: []", "needs 4 layers or more, not 0"),
        (f"layers: [{LAYER % 40}, {LAYER % 80}, {LAYER % 80}, {LAYER % 90}]", "layer 2 (80 mm) is not outside layer 1"),
        (
            f"layers: [{LAYER % -40}, {LAYER % 80}, {LAYER % 90}, {LAYER % 99}]",
            "radius_mm of a layer of the tracker must be",
        ),
        ("layers: [{radius_mm: 40}]", "lacks"),
        ("layers: [40, 80]", "must be a table"),
        ("field_t: 0", "field_t of the tracker must be more than 0"),
        ("fields_t: 2", "did you mean 'field_t'"),
        ("beam_spot: {z_mm: -1}", "z_mm of the beam spot must be 0 or more"),
        ("[1, 2]", "must be a table"),
    ],
)
def test_what_is_no_tracker_is_one_sentence(tmp_path, text, said) -> None:
    path = tmp_path / "tracker.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        Tracker.from_yaml(path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: TrackerLayer(1, 1, 1, 1, 0, efficiency=1.1),
            "efficiency of a layer of the tracker must be from 0 to 1",
        ),
        (lambda: TrackerLayer(1, 1, float("nan"), 1, 0), "rphi_um"),
        (lambda: BeamSpot(x_mm=float("inf")), "x_mm of the beam spot"),
        (lambda: SeedPass(((0, 2, 1),), 3), "triplets of layers that rise"),
        (lambda: SeedPass((), 3), "triplets of layers that rise"),
        (lambda: Finding(passes=()), "one or more"),
        (lambda: Finding(fewest_hits=2), "fewest_hits of the search for tracks must be"),
        (lambda: Finding(shared=1.5), "shared of the search"),
        (lambda: Finding(lowest_pt_gev=0.0), "lowest_pt_gev"),
        (lambda: Finding(passes=(SeedPass(((0, 1, 12),), 3),)).check(Tracker()), "names layer 12"),
        (lambda: shot("graviton", 1), "no gun for 'graviton'"),
        (lambda: shot("muon", 1, pt_gev=(0, 1)), "pT must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(make, said) -> None:
    with pytest.raises(UserError, match=said):
        make()
