"""TorchVision knows the models whatever is imported first; scoring files does not wait for PyTorch."""

import subprocess
import sys

import pytest

LIST = "print(torchvision.models.list_models(module=acrn_zoo))"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import acrn_zoo, torchvision",
        "import torchvision, acrn_zoo",
        "import acrn_zoo.people, torchvision",  # TorchVision's first import is one of ours
        "import acrn_zoo, importlib.util; importlib.util.find_spec('torchvision'); import torchvision",
    ],
)
def test_order_of_imports_does_not_matter(code: str) -> None:
    assert run_python(f"{code}; {LIST}") == "['slowfast_acrn_mini', 'slowfast_r50_acrn', 'slowfast_r50_roi']"


@pytest.mark.parametrize(
    "module",
    [
        "acrn_zoo",
        "acrn_zoo.cli",
        "acrn_zoo.cli.score",
        "acrn_zoo.evaluation.ava",
        "acrn_zoo.data.annotations",
        "acrn_zoo.data.ava",
        "acrn_zoo.data.folder",
        "acrn_zoo.data.proposals",
    ],
)
def test_reading_and_scoring_files_needs_no_torch(module: str) -> None:
    assert run_python(f"import {module}, sys; print('torch' in sys.modules)") == "False"
