from __future__ import annotations

import base64
import csv
import re
import runpy
import sys
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from forked import run_forked
from matplotlib.figure import Figure
from rich.console import Console

from cres import errors
from cres.errors import UserError
from cres.evaluation import Illustration, Panel, PredictionTable, Section, terminal_summary, write_report
from reconstruction.judging.measures.comparison import compare
from reconstruction.judging.measures.metrics import METRICS, label_of
from reconstruction.judging.pictures.illustrations import target_illustrations
from reconstruction.judging.report.summary import FIRST_PAGE

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


def small(table: PredictionTable) -> PredictionTable:
    """Keep the energy alone, so that few pictures are drawn."""
    keep = [name for name in table.columns if "energy" in name or name in ("event_id", "sideband_snr")]
    return PredictionTable({name: table.columns[name] for name in keep}, {**table.attributes, "targets": ["energy_ev"]})


@pytest.fixture(scope="module")
def written(draw_table, tmp_path_factory) -> Path:
    tables = [
        draw_table(150, worse=4.0, estimator="network <1>"),
        draw_table(150, noise_seed=5, estimator="fit"),
    ]
    for table in tables:
        for name in ("signal_snr", "avg_axial_frequency_hz", "avg_carrier_frequency_hz"):
            del table.columns[name]
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    pictures = (Illustration("Fit", "Good: flat.", (Panel("fit", figure, "a"),)),)
    extra = Section("Endpoint", "<p>18 573 eV</p>", pictures, {"endpoint.json": '{"endpoint_ev": 18573.0}\n'})
    bound = draw_table(150, kind="bound", estimator="bound")
    for name in ("signal_snr", "avg_axial_frequency_hz", "avg_carrier_frequency_hz"):
        del bound.columns[name]
    output = tmp_path_factory.mktemp("report")
    return write_report([*tables, bound], output, sections=[extra], resamples=20)


def test_the_page_needs_no_network_and_is_complete(written: Path):
    page = written.read_text()
    assert not re.search(r'(src|href)="(https?:|//|\.|/)', page)
    assert "<script" not in page
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page
    assert "network &lt;1&gt;" in page
    assert "<p>18 573 eV</p>" in page
    assert page.count("<figcaption>") == page.count("<figure")
    assert all("Good:" in caption for caption in re.findall(r"<figcaption>(.*?)</figcaption>", page))
    assert page.count("<details") == page.count("</details>") == page.count("<summary>")


def test_maps_of_estimators_and_bound_share_their_colours(draw_table):
    tables = [draw_table(2000, worse=worse, estimator=f"{worse} times") for worse in (2.0, 20.0)]
    comparison = compare([*tables, draw_table(2000, kind="bound", estimator="bound")])
    maps = next(i for i in target_illustrations(comparison, "energy_ev") if "over pitch angle and radius" in i.title)
    figures = [panel.drawn() for panel in maps.panels]
    assert [panel.name for panel in maps.panels] == ["energy_ev_map_0", "energy_ev_map_1", "energy_ev_map_bound"]
    meshes = [figure.axes[0].collections[0] for figure in figures]
    assert len({mesh.get_clim() for mesh in meshes}) == 1
    better, worse, bound = (np.ma.median(mesh.get_array()) for mesh in meshes)
    assert bound < better < worse


def test_every_picture_is_a_png_of_its_own_too(written: Path):
    page = written.read_text()
    sources = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    files = list((written.parent / "figures").glob("*.png"))
    assert len(set(sources)) == len(files) > 20
    assert len(sources) == len(files) + page.count('class="key"')
    assert {base64.b64decode(source) for source in sources} == {file.read_bytes() for file in files}
    assert (written.parent / "figures" / "fit.png").exists()


def test_tables_carry_intervals_and_the_ratio_to_the_bound(written: Path):
    with (written.parent / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["target"], row["group"], row["estimator"], row["metric"]): row for row in rows}
    ratio = found["energy_ev", "all", "fit", "bound_ratio"]
    assert float(ratio["low"]) < float(ratio["value"]) < float(ratio["high"])
    assert 0.7 < float(ratio["value"]) < 1.3
    assert ("pitch_angle_deg", "resolved", "network <1>", "coverage1") in found
    assert float(found["energy_ev", "all", "fit", "sigma68_relative_to_first"]["value"]) < 0.5
    assert "| network <1> |" in (written.parent / "table.md").read_text()


def test_downloads_are_the_files_beside(written: Path):
    links = re.findall(r'download="([^"]+)" href="data:[^"]*;base64,([^"]+)"', written.read_text())
    assert {name for name, _ in links} == {"table.md", "table.csv", "endpoint.json"}
    for name, content in links:
        assert base64.b64decode(content) == (written.parent / name).read_bytes()


def test_every_heading_of_the_tables_leads_to_its_meaning(written: Path):
    page = written.read_text()
    for entry in METRICS:
        assert f'<dt id="about-{entry.name}">{label_of(entry)}</dt>' in page
        of_energy_alone = entry.name in ("near_fraction", "goal_fraction")
        links = (1 if of_energy_alone else 2) + (entry.name in FIRST_PAGE)
        assert page.count(f'<a href="#about-{entry.name}">{label_of(entry)}') == links


def test_the_resolution_comes_before_what_else_is_known(written: Path):
    head = re.search(r"<thead><tr>(.*?)</tr>", written.read_text())
    assert head is not None
    names = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<th[^>]*>(.*?)</th>", head[1])]
    assert names[:3] == ["estimator", "σ68 (eV)", "over bound"]
    first = re.search(r'<tr><th scope="row">.*?</tr>', written.read_text())
    assert first is not None
    cells = re.findall(r"<td>(.*?)</td>", first[0])
    assert "badge" in cells[names.index("calibration") - 1]
    assert len(cells) == len(names) - 1


def test_the_same_tables_give_the_same_page(draw_table, tmp_path: Path):
    table = small(draw_table(60))
    pages = [write_report([table], tmp_path / name, resamples=5).read_bytes() for name in "ab"]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("case", ["few", "one", "no uncertainty", "nan", "no observables", "infinite"])
def test_poor_tables_still_give_a_report_with_a_sentence(case: str, draw_table, tmp_path: Path):
    table = small(draw_table({"few": 5, "one": 1}.get(case, 80), uncertain=case != "no uncertainty"))
    sentence = {"no uncertainty": "states no uncertainty", "nan": "40 of 80 estimates failed",
                "no observables": "cannot be told apart", "infinite": "80 estimates failed"}.get(case, "")  # fmt: skip
    if case == "nan":
        table.columns["energy_ev"][::2] = np.nan
    if case == "infinite":
        table.columns["energy_ev"][:] = np.inf
    if case == "no observables":
        keep = ("event_id", "energy_ev", "energy_std_ev", "true_energy_ev")
        table = PredictionTable({name: table.columns[name] for name in keep})
    report = write_report([table], tmp_path, resamples=5)
    assert sentence in report.read_text()


def test_tables_without_truth_or_rows_are_refused(draw_table, tmp_path: Path):
    with pytest.raises(UserError, match="true values"):
        write_report([draw_table(10, truth=False)], tmp_path)
    with pytest.raises(UserError, match="is empty"):
        write_report([draw_table(0)], tmp_path)
    with pytest.raises(UserError, match="only a bound"):
        write_report([draw_table(10, kind="bound")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_terminal_summary_names_estimators_groups_and_figures(draw_table):
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(terminal_summary([draw_table(300, estimator="a"), draw_table(300, estimator="a")], resamples=10))
    text = capture.get()
    for word in ("a (1)", "a (2)", "resolved", "all (300)", "σ68 (eV)", "bias (eV)", "1σ coverage (%)"):
        assert word in text


def _evaluate(*words: object, folder: Path) -> CompletedProcess[str]:
    return run_forked(SCRIPT, *words, folder=folder)


def test_the_script_takes_the_newest_run_and_prints_a_table(draw_table, tmp_path: Path):
    small(draw_table(40, estimator="old")).write(tmp_path / "runs" / "old" / "predictions.hdf5")
    newest = small(draw_table(40, estimator="newest")).write(tmp_path / "runs" / "new" / "predictions.hdf5")
    newest.touch()
    run = _evaluate("--bootstrap", 5, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "newest" in run.stdout
    assert (tmp_path / "runs" / "evaluation" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--output", "out"], "cli.py test"),
        (["none.hdf5", "--output", "out"], "does not exist"),
        (["bad.hdf5", "--output", "out"], "cannot be read"),
        (["p.hdf5", "--output", "p.hdf5"], "is a file"),
        (["p.hdf5", "--names", "a", "b", "--output", "out"], "one name for each table"),
        (["p.hdf5", "--bootstrap", "-1", "--output", "out"], "0 or more"),
    ],
)
def test_the_script_tells_mistakes_in_one_sentence_and_leaves_earlier_output(
    words, sentence, draw_table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    draw_table(20).write(tmp_path / "p.hdf5")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("earlier")
    (tmp_path / "bad.hdf5").write_text("no HDF5")
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
    with pytest.raises(SystemExit) as stopped:
        errors.run(runpy.run_path(str(SCRIPT))["main"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert (tmp_path / "out" / "report.html").read_text() == "earlier"
