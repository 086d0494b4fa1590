"""The same content gives the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open

_WRITE = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from l4gm.io.tensor_file import sort_header
path = Path(sys.argv[1])
metadata = {f"key {k}": f'"value" {k} \u00e4 \u732b \\n' for k in range(12)}
save_file({"b": torch.arange(3.0), "a": torch.eye(2)}, path, metadata=metadata)
sort_header(path)
"""


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.safetensors" for k in range(3)]
    for path in paths:
        subprocess.run([sys.executable, "-c", _WRITE, str(path)], check=True)
    assert len({path.read_bytes() for path in paths}) == 1
    with safe_open(paths[0], "pt") as file:
        assert torch.equal(file.get_tensor("b"), torch.arange(3.0))
        assert torch.equal(file.get_tensor("a"), torch.eye(2))
        assert file.metadata()["key 3"] == '"value" 3 \u00e4 \u732b \n'
        assert len(file.metadata()) == 12
