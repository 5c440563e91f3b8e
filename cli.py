"""Train and use models: python cli.py {fit,validate,test,predict,export} -c configs/s4d.yaml; see --help."""

from __future__ import annotations

import sys

from cres.commands.memory import with_malloc_settings


def main() -> int:
    """Run one command."""
    from cres.progress import waiting

    with waiting("loading torch and Lightning"):
        from reconstruction.training.command_line.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    with_malloc_settings()
    from cres import errors

    errors.run(main)
