"""What a user is told: one clear sentence and exit code 2, never a traceback for a user's mistake."""

from __future__ import annotations

import difflib
import errno
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import NoReturn

from reconstruction.output import lasting_output

EXIT_USER_ERROR = 2


class UserError(Exception):
    """A mistake that the user can mend. The message says what is wrong, where, and what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


OF_THE_SYSTEM = {
    getattr(errno, name)
    for name in ("ENOENT", "EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "ENAMETOOLONG", "ENOTDIR", "EISDIR",
                 "EEXIST", "ELOOP", "ENOTEMPTY", "EIO", "ESTALE")
    if hasattr(errno, name)
}  # fmt: skip
"""What the system refuses for reasons that are the user's to mend: rights, space, names."""


def of_the_system(error: OSError) -> str | None:
    """Return, in a sentence, what the system refused to do with a file, or None for an error of another kind."""
    if error.errno not in OF_THE_SYSTEM or error.filename is None:
        return None
    second = "" if error.filename2 is None else f" → {error.filename2}"
    return f"{error.filename}{second}: {error.strerror}"


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run the main function of a script and exit: 2 with one sentence for a UserError, 130 for Ctrl-C.

    What the system refuses (rights, space, names of files) is a sentence, too. Where nobody reads any more what is
    printed (`| head`), the work is done all the same.

    Warnings to the user (UserWarning) are printed as sentences, without the place in the program that says them.
    """
    warnings.formatwarning = _plainly
    with lasting_output():
        sys.exit(_ended(main))


def _ended(main: Callable[[], int | None]) -> int:
    """Return the exit code of a main function; what ended it early is said."""
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)  # a name may have several lines
        return EXIT_USER_ERROR
    except OSError as error:
        if (said := of_the_system(error)) is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


_with_place = warnings.formatwarning


def _plainly(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if category is UserWarning:
        return f"warning: {message}\n"
    return _with_place(message, category, filename, lineno, line)
