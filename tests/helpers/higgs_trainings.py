"""Our configurations of the search with the smallest network, for one epoch."""

from __future__ import annotations

from pathlib import Path

import shipped
import yaml

SMALLEST = {
    "width": 12,
    "widths": [16],
    "neighbours": 4,
    "depth": 1,
}


def smallest(name: str, folder: Path) -> Path:
    """Write one of our configurations with the smallest network."""
    content = yaml.safe_load((shipped.ROOT / "configs/higgs" / f"{name}.yaml").read_text())
    content["trainer"] |= {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}
    content["data"] |= {"batch_size": 64}
    content["model"]["encoders"]["objects"]["init_args"] = dict(SMALLEST)
    content["model"]["head"]["init_args"] |= {"hidden_width": 16}
    content["figures"] = {"every_epochs": 0}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
