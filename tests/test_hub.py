"""torch.hub, as a stranger uses it: a fresh process, started in another folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["slowfast_acrn_ava21", "slowfast_acrn_ava22", "slowfast_acrn_mini", "slowfast_r50_acrn", "slowfast_r50_roi"]

# No network: an attempt to connect is an error that the test would see.
PREAMBLE = """
import socket, sys, warnings
import torch
def refuse(*_): raise OSError("no network in this test")
socket.socket.connect = refuse
"""


def run(code: str, folder: Path, hub: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"TORCH_HOME": str(hub), "ACRN_ZOO_CACHE": str(hub / "cache"), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", PREAMBLE + code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def repository_copy(target: Path) -> Path:
    """What a download of the repository would hold, without tests."""
    target.mkdir(parents=True)
    shutil.copy(ROOT / "hubconf.py", target)
    shutil.copytree(ROOT / "acrn_zoo", target / "acrn_zoo", ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_local_folder(tmp_path: Path) -> None:
    repository = repository_copy(tmp_path / "somewhere" / "acrn")
    output = run(
        f"""
path = {str(repository)!r}
model = torch.hub.load(path, "slowfast_acrn_ava22", source="local", pretrained=False)
mini = torch.hub.load(path, "slowfast_acrn_mini", source="local")
import acrn_zoo
assert acrn_zoo.__file__.startswith(path), acrn_zoo.__file__
assert not {{"av", "pandas"}} & set(sys.modules), "a model alone reads no videos"
print(type(model).__name__, model.num_classes, mini.num_classes)
""",
        tmp_path,
        tmp_path / "hub",
    )
    assert output.split() == ["ActionDetector", "80", "7"]


@pytest.mark.slow
def test_repository_in_the_hub_cache(tmp_path: Path, published_checkpoint: Path) -> None:
    repository_copy(tmp_path / "hub" / "hub" / "org_acrn_main")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    output = run(
        f"""
options = dict(trust_repo=True, skip_validation=True, verbose=False)
assert sorted(torch.hub.list("org/acrn", trust_repo=True, skip_validation=True)) == {NAMES!r}
for name in {NAMES!r}:
    assert "Returns:" in torch.hub.help("org/acrn", name, trust_repo=True, skip_validation=True)
model = torch.hub.load("org/acrn", "slowfast_acrn_ava22", weights={str(published_checkpoint)!r}, **options)
clips, boxes = torch.zeros(1, 3, 32, 64, 64), [torch.tensor([[0.0, 0.0, 60.0, 60.0]])]
print(*model(clips, boxes).shape)
""",
        elsewhere,
        tmp_path / "hub",
    )
    assert output.split() == ["1", "80"]


@pytest.mark.slow
def test_without_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    repository = repository_copy(tmp_path / "acrn")
    output = run(
        f"""
try:
    torch.hub.load({str(repository)!r}, "slowfast_acrn_ava22", source="local")
except OSError as error:
    print(error)
""",
        tmp_path,
        tmp_path / "hub",
    )
    assert "https://download.openmmlab.com" in output
    assert "66ec24a2.pth" in output
    assert "weights=" in output
