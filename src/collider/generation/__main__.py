"""`python -m collider.generation`: what `scripts/generate.py` of a checkout does, from anywhere."""

from collider.generation.command import main
from reconstruction import errors

if __name__ == "__main__":
    errors.run(main)
