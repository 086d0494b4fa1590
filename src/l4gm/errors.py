"""Bad input that a person can mend, the package's own error; and what lack of memory looks like."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from outside: a file, a folder, a weight, an option.

    The message is one line that names the input, what was expected and the fix.
    The command line prints it and exits with code 2.
    """


OUT_OF_MEMORY = (RuntimeError, MemoryError)
"""What to catch where fewer things at a time may help; `is_out_of_memory` says whether they may."""

# What torch's CPU and GPU allocators say, partly in plain RuntimeErrors.
_SAYINGS = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SAYINGS)
