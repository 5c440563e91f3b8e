"""What pyproject.toml cannot say: a wheel brings copies of `configs/`, so that it works without the checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
COLLIDER = {"showers", "generation", "higgs", "jets", "detectors"}
"""Folders of `configs/` that are of `collider`, not of `cres`."""


class BuildWithConfigs(build_py):
    """Copy the configurations into the package that is built; an editable installation finds those of the checkout."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        if not self.editable_mode:
            for source in sorted((HERE / "configs").rglob("*.yaml")):
                name = source.relative_to(HERE / "configs")
                package = "collider" if name.parts[0] in COLLIDER else "cres"
                target = Path(self.build_lib) / package / "configs" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithConfigs})
