"""Fixtures that every test may use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and reference data that may stand beside the checkout; absent elsewhere."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "DESIGN.md").is_file():
        pytest.skip("needs the folder `shared` (real videos, reference data) beside the checkout")
    return folder
