"""Dependencies and extras of acrn_zoo; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^VERSION = "(.+)"$', (HERE / "acrn_zoo/version.py").read_text(), re.MULTILINE)[1]  # type: ignore[index]

setup(
    name="acrn-zoo",
    version=VERSION,
    description="Who does what in a video: Actor-Centric Relation Networks for the TorchVision and PyTorchVideo zoos",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["acrn_zoo", "acrn_zoo.*"]),
    package_data={"acrn_zoo": ["py.typed", "pretrained/*.pth"]},
    python_requires=">=3.10",
    install_requires=[
        # The oldest pair that machines in the field still carry, and the first with Python 3.10 to 3.13 and macOS
        # 13 wheels for both; no upper bound: an older acrn_zoo must not hold back a newer PyTorch.
        "torch>=2.11",
        "torchvision>=0.26",
        "pytorchvideo>=0.1.5",
        "fvcore",  # PyTorchVideo imports it
        "iopath>=0.1.10",
        "submitit>=1.5",
        "numpy>=1.26",
        "pandas>=2.0",
        "av>=17.1",  # 17.0 crashes on some files
        "pillow>=10.1",  # the first whose built-in font has a size
        "tqdm",
        "tyro>=1.0",
        "tomli; python_version < '3.11'",  # what Python calls tomllib from 3.11 on
        "portalocker",
    ],
    extras_require={
        "torchcodec": ["torchcodec>=0.12"],
        "safetensors": ["safetensors"],
        "tensorboard": ["tensorboard"],
        "benchmarks": ["matplotlib"],
        "test": [
            "pytest>=8",
            "pytest-benchmark>=5",
            "matplotlib",
            "safetensors",
            "tensorboard",
            "mypy",
            "pandas-stubs",
            "ruff",
        ],
    },
    entry_points={"console_scripts": ["acrn-zoo = acrn_zoo.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
