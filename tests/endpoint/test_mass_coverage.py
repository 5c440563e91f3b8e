"""The study of the mass limits' coverage: cells, resumption, belts that are shared, the table."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from cres.endpoint import mass_coverage
from cres.endpoint.mass_coverage import CELLS, Cell, cells_of, coverage_lines, run_cell, summarise_cell
from cres.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "mass_coverage.py"
CELL = Cell("T", 12.0, 40)


def test_the_cells_are_those_of_the_study():
    assert len(CELLS) == 24
    assert len({cell.name for cell in CELLS}) == 24
    with pytest.raises(UserError, match="no cell 'T3'"):
        list(cells_of(["T3"]))


def test_a_cell_is_resumed_and_its_table_says_what_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(mass_coverage, "BELT_MASSES_EV", (0.0, 12.0, 80.0))
    toys = run_cell(CELL, tmp_path, 2, 5)
    path = tmp_path / f"{CELL.name}.jsonl"
    before = path.read_text()
    path.write_text(before + '{"index": 2, "neym')  # killed while it wrote
    more = run_cell(CELL, tmp_path, 3, 5)
    assert path.read_text().startswith(before)
    assert more[:2] == toys
    points = sorted(file.name for file in tmp_path.glob("belt-*.json"))
    assert points == ["belt-T-40-0eV-1.json", "belt-T-40-12eV-5.json", "belt-T-40-80eV-1.json"]
    lines = coverage_lines(tmp_path)
    assert sum("*not run*" in line for line in lines) == 23
    assert sum("| 12 eV | 3 |" in line for line in lines) == 1
    with pytest.raises(UserError, match="another study"):
        run_cell(CELL, tmp_path, 3, 5, seed=1)
    path.write_text(before.replace("{", "[", 1))
    with pytest.raises(UserError, match="damaged"):
        run_cell(CELL, tmp_path, 3, 5)


@pytest.mark.parametrize(("held", "agrees"), [(450, True), (400, False), (490, False)])
def test_agreement_is_judged_by_the_99_per_cent_interval(held, agrees):
    toys = [
        {"neyman": i < held, "profile": True, "bayesian": i % 2 == 0, "limit_ev": None if i == 0 else 20.0}
        for i in range(500)
    ]
    found = summarise_cell(CELL, toys)
    assert found.agrees == agrees
    assert (found.profile, found.bayesian, found.median_limit_ev) == (1.0, 0.5, 20.0)


def test_the_command_prints_the_table(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("mass_coverage_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    toy = {"index": 0, "neyman": True, "profile": True, "bayesian": True, "limit_ev": 30.0}
    (tmp_path / "T2-0eV-40.jsonl").write_text("{}\n" + json.dumps(toy) + "\n")
    monkeypatch.setattr(sys, "argv", ["mass_coverage.py", "--table", "--output", str(tmp_path)])
    script.main()
    assert "| T2 | 40 | 0 eV | 1 | 100.0% |" in capsys.readouterr().out
