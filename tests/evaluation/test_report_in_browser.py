"""The report in a real headless browser: no console message, pictures load, nothing is wider than the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import BROWSER, framed, look_at

from cres.evaluation import write_report

PROBE = """<script>
window.addEventListener("load", () => {
  const folded = [...document.querySelectorAll("details")].filter((e) => !e.open).length;
  document.querySelectorAll("details").forEach((e) => { e.open = true; });
  const images = [...document.images];
  const edge = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("h1,h2,h3,p,li,figure,img,nav,.scroll,dl,.note")]
    .filter((e) => e.getBoundingClientRect().right > edge + 1);
  const links = [...document.querySelectorAll('a[href^="#"]')];
  const found = { width: edge, scroll: document.documentElement.scrollWidth, images: images.length,
    broken: images.filter((i) => !i.naturalWidth).length, wide: wide.map((e) => e.outerHTML.slice(0, 80)),
    folded, contents: document.querySelector("nav ol").getBoundingClientRect().height,
    cut: [...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1)
      .map((e) => e.getAttribute("aria-label")),
    lost: links.filter((a) => !document.querySelector(a.getAttribute("href"))).length };
  const out = document.createElement("pre"); out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script></body>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(draw_table, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    tables = [draw_table(150, estimator="A network with quite a long name"), draw_table(150, noise_seed=3)]
    report = write_report([*tables, draw_table(150, kind="bound", estimator="bound")], folder, resamples=5)
    probed = folder / "probed.html"
    probed.write_text(report.read_text().replace("</body>", PROBE))
    return probed


@pytest.mark.parametrize("width", [1300, 400])
def test_the_report_in_a_browser(page: Path, width: int, tmp_path: Path):
    shown = page if width >= 500 else framed(page, width, tmp_path)
    found, messages = look_at(shown, max(width, 500), tmp_path)
    assert found["width"] == width
    assert "CONSOLE" not in messages
    assert found["images"] > 40
    assert found["broken"] == found["lost"] == 0
    assert found["wide"] == []
    assert found["folded"] >= 5
    assert (found["contents"] == 0) is (width == 400)  # folded on a phone
    assert width == 400 or found["cut"] == []  # on a phone tables scroll, and a shadow shows it
    assert found["scroll"] <= found["width"]


def test_the_probe_finds_what_is_wrong(tmp_path: Path):
    wrong = tmp_path / "wrong.html"
    body = '<p style="width:3000px">wide</p><img src="data:image/png;base64,AAAA"><a href="#no">lost</a>'
    wrong.write_text(f"<!doctype html><body><nav><ol></ol></nav>{body}<script>console.error('oh')</script>{PROBE}")
    found, messages = look_at(wrong, 600, tmp_path / "profile")
    assert "CONSOLE" in messages
    assert found["broken"] == found["lost"] == 1
    assert "wide" in found["wide"][0]
    assert found["scroll"] > found["width"]
