"""The page of electrons: what it holds, how large it is, that it says what is missing. A browser draws it elsewhere."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from electron_pages import NASTY, pictures, with_posterior

from cres import schema
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.evaluation.browser import ElectronPage, RecordPictures, chosen_rows, electron_page, outlier_score


def content(page: ElectronPage) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.S)[1])


def unpacked(text: str, kind: str, shape: tuple[int, ...] = (-1,)) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def test_two_thousand_electrons_take_less_than_ten_megabytes(draw_table):
    tables = [with_posterior(draw_table(100)), draw_table(100, noise_seed=3), draw_table(100, noise_seed=4)]
    bound = draw_table(100, kind="bound")
    sizes = [
        len(electron_page([*(t.select(np.arange(n)) for t in tables), bound], pictures(tables[0].event_id[:n])).html)
        for n in (20, 100)
    ]
    each = (sizes[1] - sizes[0]) / 80
    assert sizes[0] + 1980 * each < 10e6
    assert each > 1000  # the pictures are in it


def test_the_page_needs_no_network_and_names_cannot_break_it(draw_table):
    table = draw_table(5, estimator=NASTY)
    page = electron_page([table], title=NASTY, notes=[NASTY])
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:|//|\.|/)', page.html)
    assert "fetch(" not in page.html
    assert "import(" not in page.html
    assert "<img" not in page.html
    assert page.html.count("</script>") == 2
    assert "innerHTML" not in page.html
    assert content(page)["tables"][0]["name"] == NASTY
    assert content(page)["title"] == NASTY
    frame = page._repr_html_()
    assert "<img" not in frame
    assert frame.count("<iframe") == 1


def test_the_arrays_hold_the_table(draw_table):
    table, bound = with_posterior(draw_table(30)), draw_table(30, kind="bound")
    held = content(electron_page([table, draw_table(30, noise_seed=9, estimator="other"), bound]))
    assert held["ids"] == [str(one) for one in table.event_id]
    np.testing.assert_array_equal(unpacked(held["tables"][0]["mean"][0], "<f8"), table.mean("energy_ev"))
    np.testing.assert_array_equal(unpacked(held["targets"][1]["truth"], "<f8"), table.truth("pitch_angle_deg"))
    np.testing.assert_array_equal(unpacked(held["targets"][0]["bound"], "<f8"), bound.std("energy_ev"))
    posterior = held["tables"][0]["posterior"]
    assert posterior["components"] == 2
    np.testing.assert_allclose(unpacked(posterior["weights"], "<f4", (30, 2)), [[0.9, 0.1]] * 30, rtol=1e-6)
    covariance = unpacked(posterior["covariances"], "<f4", (30, 2, 2, 2))
    np.testing.assert_allclose(np.sqrt(covariance[:, 1, 0, 0]), 10 * table.std("energy_ev"), rtol=1e-5)
    assert np.abs(unpacked(posterior["means"], "<f4")).max() == 0  # about the estimates
    assert "error bars" in held["tables"][1]["posterior"]["source"]
    np.testing.assert_allclose(
        unpacked(held["extra"][0]["values"], "<f4"), 1e3 * table.column("true_radius_m"), rtol=1e-6
    )


def test_pictures_come_back_as_coarse_as_they_are_stored(draw_table):
    table = draw_table(12)
    shown = pictures(table.event_id[::-1])
    records = content(electron_page([table], shown))["records"]
    order = np.arange(12)[::-1]
    packed = unpacked(records["spectrogram"], "u1", (12, -1))
    levels = np.stack([packed & 15, packed >> 4], axis=2).reshape(12, 32, 48)
    decibels = levels * unpacked(records["top"], "<f4")[:, None, None] / 15
    slow = np.clip(10 * np.log10(shown.spectrogram[order]), 0, None)
    assert np.abs(decibels - slow).max() <= unpacked(records["top"], "<f4").max() / 30 + 1e-5
    peak = unpacked(records["peak"], "<f4")[:, None]
    spectrum = peak * (unpacked(records["spectrum"], "u1", (12, 384)) / 255) ** 2
    np.testing.assert_allclose(np.sqrt(spectrum), np.sqrt(shown.spectrum[order]), atol=np.sqrt(peak.max()) / 500)
    weights = unpacked(records["attention"]["values"], "u1", (12, 384)).astype(float) ** 2
    assert (weights[np.arange(12), shown.attention[order].argmax(axis=1)] == 255**2).all()
    np.testing.assert_allclose(unpacked(records["sidebands"]["values"], "<f4", (12, 8))[:, 0], 2e6)


def test_pictures_of_one_id_twice_are_refused(draw_table):
    with pytest.raises(UserError, match="event_id occurs twice"):
        pictures(np.repeat(draw_table(3).event_id, 2))


def test_an_odd_number_of_tiles_and_records_that_are_not_there(draw_table):
    table = draw_table(6)
    some = pictures(table.event_id[:4])
    odd = RecordPictures(
        some.event_id, some.spectrogram[:, :3, :5], 1e-6, 1e6, some.carrier_hz, some.spectrum[:, :7], 1e6
    )
    held = content(electron_page([table], odd))["records"]
    assert list(unpacked(held["shown"], "u1")) == [1, 1, 1, 1, 0, 0]
    assert len(unpacked(held["spectrogram"], "u1")) == 6 * 8
    assert held["attention"] is None
    assert held["sidebands"] is None


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("no truth", "No truth in the table"),
        ("no uncertainty", "states no uncertainty"),
        ("foreign", "no whole posterior: a Gaussian of each error bar"),
        ("no records", "No records were given"),
        ("no bound", "No table of the Cramér–Rao bound"),
        ("failed", "No table of the Cramér–Rao bound"),
    ],
)
def test_what_is_missing_is_said_and_left_out(case: str, sentence: str, draw_table):
    table = draw_table(8, truth=case != "no truth", uncertain=case != "no uncertainty")
    if case == "foreign":
        keep = ("event_id", "energy_ev", "energy_std_ev")
        table = PredictionTable({name: table.columns[name] for name in keep})
    if case == "failed":
        table.columns["energy_ev"][2] = np.nan
        table.columns["pitch_angle_std_deg"][3] = np.inf
    page = electron_page([table])
    assert any(sentence in note for note in page.notes)
    assert "NaN" not in page.html.split('id="data">')[1].split("</script>")[0]
    held = content(page)
    assert held["notes"] == list(page.notes)
    assert len(held["ids"]) == page.electrons == 8
    if case == "failed":
        assert unpacked(held["score"], "<f8")[2] == 1e300


def test_outliers_lead_with_and_without_truth(draw_table):
    table = draw_table(50)
    table.columns["energy_ev"][7] += 100
    table.columns["pitch_angle_deg"][9] = np.nan
    score, words = outlier_score(table)
    assert list(np.argsort(-score, kind="stable")[:2]) == [9, 7]
    assert "error bar" in words
    blind = draw_table(50, truth=False)
    score, words = outlier_score(blind)
    assert "for want of truth" in words
    assert score.argmax() == blind.std("energy_ev").argmax()
    spreads = {schema.spread_name(t): blind.std(t) * np.where(np.arange(50) == 4, 30, 1) for t in blind.targets}
    score, words = outlier_score(blind.with_columns(spreads))
    assert (score.argmax(), "suspects" in words) == (4, True)
    assert outlier_score(draw_table(5, truth=False, uncertain=False))[0].max() == 0


def test_many_electrons_are_cut_to_the_outliers_and_an_even_rest(draw_table):
    table = draw_table(500)
    table.columns["energy_ev"][:10] += 50
    kept = chosen_rows(table, 40)
    assert len(set(kept)) == 40
    assert set(range(10)) <= set(kept)
    worst = set(np.argsort(-outlier_score(table)[0], kind="stable")[:20])
    assert worst <= set(kept)
    page = electron_page([table], most=40)
    assert any("40 of 500 electrons: the 20 largest outliers" in note for note in page.notes)
    assert len(chosen_rows(table, 1)) == 1


def test_nothing_to_browse_is_refused_and_saving_is_whole(draw_table, tmp_path: Path):
    with pytest.raises(UserError, match="no electron to browse"):
        electron_page([draw_table(5, kind="bound")])
    with pytest.raises(UserError, match="no electron to browse"):
        electron_page([draw_table(0)])
    page = electron_page([draw_table(5)])
    path = page.save(tmp_path / "deep" / "page.html")
    assert path.read_text() == page.html
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        page.save(tmp_path / "file" / "page.html")
    assert "5 electrons" in repr(page)
