"""Files that come with the package: configurations and trained models, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cres.errors import UserError, nearest

_PACKAGE: Final = Path(__file__).parent
DEFAULT_SIMULATION: Final = "cavity_26ghz_modes"


def configs_folder() -> Path:
    """Return the folder of the configurations: that of the checkout, or the copy that a wheel brings."""
    checkout = _PACKAGE.parents[1] / "configs"
    return checkout if (checkout / "s4d.yaml").is_file() else _PACKAGE / "configs"


def simulation_config(wanted: str | Path | None = None) -> Path:
    """Return the file of an apparatus: a path, or the name of one of ours (None: the default).

    Raises UserError with the nearest name where there is none.
    """
    given = Path(DEFAULT_SIMULATION if wanted is None else wanted)
    if given.suffix in (".yaml", ".yml") or given.is_file():
        return given
    folder = configs_folder() / "simulation"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if str(given) not in known:
        hint = nearest(str(given), known)
        raise UserError(f"there is no apparatus {str(given)!r}{hint}; ours are {', '.join(known)}")
    return folder / f"{given}.yaml"


def training_config(wanted: str) -> Path:
    """Return the file of a training's configuration: a path as it is, or the one of ours that is called so."""
    given, folder = Path(wanted), configs_folder()
    for ours in (folder / given.name, folder / f"{given.name}.yaml"):
        if not given.exists() and str(given) in (ours.name, ours.stem) and ours.is_file():
            return ours
    return given


def pretrained_folder(name: str) -> Path:
    """Return the folder of a trained model that comes with the package. Raises UserError where it is not there."""
    folder = _PACKAGE / "pretrained"
    known = sorted(path.parent.name for path in folder.glob("*/card.json"))
    if name not in known:
        have = f"it has {', '.join(known)}" if known else "it came without any"
        raise UserError(
            f"this installation has no pretrained model {name!r}{nearest(name, known)}: {have}; train one with "
            "`make model` and load it with cres.load('runs/model')"
        )
    return folder / name
