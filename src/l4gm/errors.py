"""Bad input that a person can mend, the package's own error; and what lack of memory looks like."""

from __future__ import annotations

_LONGEST_MESSAGE = 1200  # letters


class InputError(ValueError):
    """Bad input from outside: a file, a folder, a weight, an option.

    The message is one line that names the input, what was expected and the fix.
    The command line prints it and exits with code 2. The middle of a very long one is left out:
    it quotes what somebody made long.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(short_message(str(message)))


def short_message(text: str) -> str:
    """A message without its middle, if it is longer than any that we wrote."""
    if len(text) <= _LONGEST_MESSAGE:
        return text
    return f"{text[: _LONGEST_MESSAGE - 250]} ... {text[-240:]}"


OUT_OF_MEMORY = (RuntimeError, MemoryError)
"""What to catch where fewer things at a time may help; `is_out_of_memory` says whether they may."""

# What torch's CPU and GPU allocators say, partly in plain RuntimeErrors.
_SAYINGS = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SAYINGS)
