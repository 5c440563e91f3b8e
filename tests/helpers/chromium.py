"""A headless Chromium that opens a page and returns what a script in it found."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def look_at(page: Path, width: int, profile: Path) -> tuple[dict[str, Any], str]:
    """Return what the page's own probe left in an element `found`, as JSON, and the browser's messages."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom",
               f"--user-data-dir={profile}", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
               f"--window-size={width},900", "--virtual-time-budget=20000",
               page.as_uri()]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    assert match is not None, run.stderr
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
