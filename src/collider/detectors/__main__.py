"""`python -m collider.detectors`: what `scripts/detectors.py` of a checkout does, from anywhere."""

from collider.detectors.command import main
from reconstruction import errors

if __name__ == "__main__":
    errors.run(main)
