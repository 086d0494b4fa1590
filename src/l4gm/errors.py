"""The package's own error: bad input that a person can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from outside: a file, a folder, a weight, an option.

    The message is one line that names the input, what was expected and the fix.
    The command line prints it and exits with code 2.
    """
