"""`python -m cres.commands` is the program `cres`."""

from cres.commands import run

if __name__ == "__main__":
    run()
