"""The report in a real headless browser: no console message, pictures load, nothing is wider than the screen."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cres.evaluation import write_report

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PROBE = """<script>
window.addEventListener("load", () => {
  const images = [...document.images];
  const edge = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("h1,h2,h3,p,li,figure,img,nav,.scroll,dl,.note")]
    .filter((e) => e.getBoundingClientRect().right > edge + 1);
  const links = [...document.querySelectorAll('a[href^="#"]')];
  const found = { width: edge, scroll: document.documentElement.scrollWidth, images: images.length,
    broken: images.filter((i) => !i.naturalWidth).length, wide: wide.map((e) => e.outerHTML.slice(0, 80)),
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


def look_at(page: Path, width: int, profile: Path) -> tuple[dict[str, Any], str]:
    """Return what the probe found, and the browser's messages."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom",
               f"--user-data-dir={profile}", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
               f"--window-size={width},900",
               page.as_uri()]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    assert match is not None
    return json.loads(html.unescape(match[1])), run.stderr


def framed(page: Path, width: int, folder: Path) -> Path:
    """Return a page that shows another one as wide as a phone, and passes on what the probe in it found.

    The window of a browser is not narrower than 500 px.
    """
    outer = folder / "phone.html"
    frame = f'<iframe id="phone" style="border:0;width:{width}px;height:800px"></iframe>'
    fill = f"frame.srcdoc = {json.dumps(page.read_text()).replace('</', '<' + chr(92) + '/')};"
    pass_on = 'document.body.append(frame.contentDocument.getElementById("found").cloneNode(true))'
    script = f'const frame = document.getElementById("phone"); frame.onload = () => {pass_on}; {fill}'
    outer.write_text(f'<!doctype html><meta charset="utf-8"><body>{frame}<script>{script}</script></body>')
    return outer


@pytest.mark.parametrize("width", [1400, 400])
def test_the_report_in_a_browser(page: Path, width: int, tmp_path: Path):
    shown = page if width >= 500 else framed(page, width, tmp_path)
    found, messages = look_at(shown, max(width, 500), tmp_path)
    assert found["width"] == width
    assert "CONSOLE" not in messages
    assert found["images"] > 40
    assert found["broken"] == found["lost"] == 0
    assert found["wide"] == []
    assert found["scroll"] <= found["width"]


def test_the_probe_finds_what_is_wrong(tmp_path: Path):
    wrong = tmp_path / "wrong.html"
    body = '<p style="width:3000px">wide</p><img src="data:image/png;base64,AAAA"><a href="#no">lost</a>'
    wrong.write_text(f"<!doctype html><body>{body}<script>console.error('oh')</script>{PROBE}")
    found, messages = look_at(wrong, 600, tmp_path / "profile")
    assert "CONSOLE" in messages
    assert found["broken"] == found["lost"] == 1
    assert "wide" in found["wide"][0]
    assert found["scroll"] > found["width"]
