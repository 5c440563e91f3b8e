"""`python -m collider.higgs.making`: what `scripts/higgs.py` of a checkout does, from anywhere."""

from collider.higgs.making.command import main
from reconstruction import errors

if __name__ == "__main__":
    errors.run(main)
