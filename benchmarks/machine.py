"""Where something was measured that PyTorch computes."""

import os

import torch

from benchmarks.evaluation import machine


def torch_machine() -> str:
    """Processor and versions, in one line."""
    versions = machine().partition(";")[0]  # behind it stands the memory of this process, of no interest here
    return f"{versions}, PyTorch {torch.__version__}, {os.cpu_count()} processors"
