"""Numbers out of range are one line at once, in every verb that has the option."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l4gm.cli.main import VERBS, main
from l4gm.cli.option_ranges import range_fault
from l4gm.io.names import printable


@pytest.mark.parametrize(
    ("verb", "option", "value"),
    [
        *(("render", "--azimuth", value) for value in ("nan", "inf", "-1e300")),
        *(("render", "--elevation", value) for value in ("nan", "91")),
        *(("render", "--size", value) for value in ("0", "-5", "1000000000")),
        *(("render", "--frames", value) for value in ("0", "1000000000")),
        *(("render", "--fps", value) for value in ("0", "-3", "1e300", "nan")),
        *(("render", "--supersampling", value) for value in ("0", "9999999")),
        *(("reconstruct", "--orbit-size", value) for value in ("0", "1000000000")),
        *(("reconstruct", "--seed", value) for value in ("-1", "99999999999999999999")),
        *(("reconstruct", "--max-frames", value) for value in ("0", "-1", "1" * 5000)),
        *(("reconstruct", "--chunk-frames", value) for value in ("0", "1000000000")),
        *(("reconstruct", "--elevation", value) for value in ("inf", "1e5")),
        *(("export", "--scale", value) for value in ("0", "-1", "inf", "1e300")),
        *(("app", "--max-upload-mb", value) for value in ("0", "inf", "nan")),
        *(("view", "--port", value) for value in ("-1", "70000")),
    ],
)
def test_out_of_range(run: Callable, tmp_path: Path, verb: str, option: str, value: str) -> None:
    positional = {"export": ("--format", "ply"), "app": ()}.get(verb, ())
    given = () if verb == "app" else ("missing.mp4", *positional)
    out = () if verb in ("app", "view") else ("-o", tmp_path / "out.mp4")
    outcome = run(verb, *given, *out, option, value)
    outcome.assert_bad_input()
    assert option in outcome.err
    assert len(outcome.err) < 1500
    assert not list(tmp_path.iterdir())


@given(st.sampled_from(["size", "fps", "seed", "keep", "anything"]), st.floats() | st.integers())
def test_a_range_has_no_holes_and_faults_are_short(name: str, value: float) -> None:
    fault = range_fault(name, value)
    assert fault is None or len(fault) < 80
    if value != value:
        assert fault is not None


def verbs() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names and options of every verb and sub-verb."""
    for verb in VERBS:
        module = importlib.import_module(f"l4gm.cli.{verb}")
        for subverb in getattr(module, "SUBVERBS", {}):
            inner = importlib.import_module(f"l4gm.cli.{verb}_{subverb}")
            for last in getattr(inner, "SUBVERBS", {}):
                module = importlib.import_module(f"l4gm.cli.{verb}_{subverb}_{last}")
                yield (verb, subverb, last), module.Options
            if not hasattr(inner, "SUBVERBS"):
                yield (verb, subverb), inner.Options
        if not hasattr(module, "SUBVERBS") and hasattr(module, "Options"):
            yield (verb,), module.Options


WORDS = st.one_of(
    st.sampled_from(
        ["", "-", "--", "nan", "inf", "-1", "0", "1e999", "1" * 400, "../..", "\x1b[31m", "a\nb"]
    ),
    st.text(max_size=12).filter(lambda text: "\0" not in text),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "options"), [pytest.param(*verb, id=" ".join(verb[0])) for verb in verbs()]
)
@settings(
    max_examples=int(os.environ.get("L4GM_FUZZ_CASES", "40")) // 2,
    deadline=None,
    derandomize="L4GM_FUZZ_SEED" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_command_line_is_answered(
    data: st.DataObject,
    names: tuple[str, ...],
    options: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Options with any values: help, or one printable line and exit code 2; nothing is done."""
    known = [f"--{name.replace('_', '-')}" for name in options.__dataclass_fields__]
    known = [name for name in known if name != "--debug"]
    words = data.draw(st.lists(st.sampled_from(known) | WORDS, max_size=6))
    monkeypatch.chdir(tmp_path)
    # What passes as a command line must not be run.
    monkeypatch.setattr(sys.modules[options.__module__], "run", lambda options: None)
    code = main([*names, *words])
    captured = capsys.readouterr()
    assert code in (0, 2)
    if code == 2:
        lines = captured.err.splitlines()
        assert len(lines) == 1
        assert printable(lines[0]) == lines[0]
    assert "Traceback" not in captured.err
    assert "this is a bug" not in captured.err
    assert not list(tmp_path.iterdir())
