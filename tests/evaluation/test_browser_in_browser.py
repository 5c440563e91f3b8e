"""The page of electrons driven in a real headless browser: sorted, filtered, opened, stepped through, on two widths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chromium import BROWSER, framed, look_at
from electron_pages import NASTY, pictures, with_posterior

from cres.evaluation.browser import electron_page

COUNT = 2000
PROBE = f"<script>{Path(__file__).with_name('browser_probe.js').read_text()}</script></body>"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.mark.parametrize("width", [1300, 400])
def test_the_page_in_a_browser(width: int, draw_table, tmp_path: Path):
    table = with_posterior(draw_table(COUNT, estimator=NASTY))
    table.columns["energy_ev"][7] += 100
    table.columns["pitch_angle_deg"][9] = np.nan
    tables = [table, draw_table(COUNT, noise_seed=3), draw_table(COUNT, kind="bound")]
    made = electron_page(tables, pictures(table.event_id), title=NASTY)
    page = tmp_path / "page.html"
    page.write_text(made.html.replace("</body>", PROBE))
    assert page.stat().st_size < 10e6
    found, messages = look_at(page if width >= 500 else framed(page, width, tmp_path), max(width, 500), tmp_path)
    assert "CONSOLE" not in messages
    assert (found["title"], found["images"]) == (NASTY, 0)
    assert found["first"][:2] == ["1009", "1007"]  # the failed one, then the outlier
    assert found["rows"] == 100
    assert found["status"].startswith(f"{COUNT} of {COUNT} electrons; first: the largest")
    pull = table.residual("energy_ev") / table.std("energy_ev")
    order = table.event_id[np.argsort(pull, kind="stable")].astype(str)
    assert found["falling"] == list(order[::-1][:2])
    assert found["rising"] == list(order[:2])
    score = np.max([np.abs(table.residual(t) / table.std(t)) for t in table.targets], axis=0)
    assert found["outliers"].startswith(f"{int(np.sum(~(score <= 3)))} of {COUNT}")
    assert found["searched"]
    assert all("10" in one for one in found["searched"])
    resolved = int(np.sum(table.column("sideband_snr").astype(np.float32) >= 25))
    assert found["limited"].startswith(f"{resolved} of {COUNT}")
    assert found["more"] == 200
    assert found["opened"] == "Electron 1007"
    assert found["marked"] == 1
    assert len(found["canvases"]) == 5  # spectrogram, spectrum, two posteriors, both together
    assert min(found["canvases"]) > 5
    assert min(found["whole"]) > 5
    assert "true place of the sidebands" in found["said"]
    assert "Cramér–Rao bound" in found["said"]
    assert found["next"] not in ("Electron 1007", "Electron 1009")
    assert (found["listed"] == "none") is (width == 400)  # the electron has a phone's screen to itself
    assert found["width"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []


@pytest.mark.parametrize("case", ["no truth", "bare", "failed"])
def test_poor_tables_are_drawn_without_a_message(case: str, draw_table, tmp_path: Path):
    table = draw_table(12, truth=case != "no truth", uncertain=case != "bare")
    if case == "failed":
        for name in table.targets:
            table.columns[name][:] = np.nan
    page = tmp_path / "page.html"
    probe = (
        '<script>addEventListener("load", () => { const out = document.createElement("pre"); out.id = "found"; '
        'out.textContent = JSON.stringify({ said: document.getElementById("detail").textContent, '
        'rows: document.querySelectorAll("tbody tr").length }); document.body.append(out); });</script></body>'
    )
    page.write_text(electron_page([table]).html.replace("</body>", probe))
    found, messages = look_at(page, 900, tmp_path)
    assert "CONSOLE" not in messages
    assert found["rows"] >= 12
    assert "No records were given" in found["said"]
    assert ("No estimate of the energy" in found["said"]) is (case == "failed")
