"""`python -m collider.jets`: what `scripts/jets.py` of a checkout does, from anywhere."""

from collider.jets.command import main
from reconstruction import errors

if __name__ == "__main__":
    errors.run(main)
