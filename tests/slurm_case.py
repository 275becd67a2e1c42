"""The launcher as a user calls it, and what its jobs leave."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from throwaway_slurm import ThrowawaySlurm
from torch import Tensor

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Launcher:
    """``python slurm/launch.py``, as another process.

    Args:
        slurm: the cluster.
        profiles: a file of profiles that is there.
        root: the checkout.
        environment: variables beside those of this process.
    """

    slurm: ThrowawaySlurm
    profiles: Path
    root: Path = CHECKOUT
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, status: int = 0) -> str:
        """What it prints.

        Args:
            arguments: of the command line.
            status: with which it has to end.
        """
        command = [sys.executable, str(self.root / "slurm" / "launch.py"), *map(str, arguments)]
        if not {"--status", "--cancel", "--resume", "--logs"} & set(command):
            command += ["--profiles", str(self.profiles)]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **self.slurm.environment, **self.environment}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=900)
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == status, f"{said}\n{self._logs(arguments)}"
        return said

    def _logs(self, arguments: Sequence[object]) -> str:
        """What the jobs have written, for whoever reads why a test fails."""
        if "--out" not in arguments:
            return ""
        logs = Path(str(arguments[list(arguments).index("--out") + 1])) / "logs"
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(logs.glob("*.err")))


@dataclass(frozen=True)
class SlurmRun:
    """What a training has left in its folder."""

    root: Path

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The lines of its log, one a step."""
        path = self.root / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(_read_line, lines) if line.get("kind") == "step"]

    @property
    def losses(self) -> list[float]:
        """Of all steps."""
        return [step["loss"] for step in self.steps]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the last epoch."""
        weights = torch.load(self.root / "last.pth", weights_only=True)["state_dict"]
        assert isinstance(weights, dict)
        return weights

    @property
    def places(self) -> list[dict[str, Any]]:
        """Where the processes of all starts have run."""
        return [json.loads(path.read_text()) for path in sorted((self.root / "ranks").glob("*.json"))]

    @property
    def said(self) -> str:
        """What all processes have written on their errors' channels."""
        return "".join(path.read_text() for path in sorted((self.root / "logs").glob("*.err")))

    @property
    def resumed_after(self) -> list[int]:
        """The steps behind which its starts went on."""
        return [int(step) for step in re.findall(r"going on after step (\d+)", self.said)]

    @property
    def is_done(self) -> bool:
        """Whether its job says so."""
        return (self.root / "DONE").exists()

    def has_reached(self, step: int) -> bool:
        """Whether so many steps are done."""
        return len(self.steps) >= step


def _read_line(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}  # is just being written
    assert isinstance(found, dict)
    return found
