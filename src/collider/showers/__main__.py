"""`python -m collider.showers`: what `scripts/showers.py` of a checkout does, from anywhere."""

from collider.showers.command import main
from reconstruction import errors

if __name__ == "__main__":
    errors.run(main)
