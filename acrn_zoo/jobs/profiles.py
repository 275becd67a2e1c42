"""Facts of clusters, from ``slurm/profiles.toml``: a table each."""

import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from acrn_zoo.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = "default"
"""The profile that is taken unless another is named."""


class ProfileError(UserError, ValueError):
    """A profile is missing or says something that it cannot say."""


@dataclass(frozen=True)
class Profile:
    """What a cluster, and the user's account there, ask of a job.

    Args:
        partition: where the job runs; several with commas between.
        account: who pays.
        qos: quality of service.
        constraint: features that nodes must have.
        exclude: nodes that must not be taken.
        gpu_type: kind of GPU, as the cluster calls it (``a100``), where it has several.
        memory: GB a node; 0 for all of it; the cluster's default if None.
        cpus_per_task: of every process: what it computes with, and its loader workers.
        minutes: time limit of a job, which is started again until it is done.
        signal_seconds: before this limit, the job is told to save.
        mail: an address that is told of ends, failures and restarts.
        setup: shell commands before the job, such as ``module load``.
        extra: further parameters of sbatch by their long names, without dashes; true for a flag without a value.
        data: by recipe, the dataset folder where the command names none.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: tuple[str, ...] = ()
    gpu_type: str | None = None
    memory: int | None = None
    cpus_per_task: int | None = None
    minutes: int = 24 * 60
    signal_seconds: int = 180
    mail: str | None = None
    setup: tuple[str, ...] = ()
    extra: Mapping[str, str | int | bool] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)


def read_profile(path: Path, name: str) -> Profile:
    """One profile of a file.

    Raises:
        ProfileError: naming the profiles or keys that there are, if this one is not there or has others; if a value is
            of the wrong type.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be read ({error.strerror or error}): name another with --profiles"
        ) from error
    except ValueError as error:
        raise ProfileError(f"{path} is not TOML: {error}") from error
    if name not in tables:
        raise ProfileError(
            f"{name!r} is no profile of {path}: expected one of {', '.join(tables) or 'none, it is empty'}"
        )
    table = tables[name]
    if not isinstance(table, dict):
        raise ProfileError(f"{path}: {name} stands outside of all profiles: expected tables such as [{DEFAULT}]")
    known = {one.name: one for one in fields(Profile)}
    if unknown := [key for key in table if key not in known]:
        raise ProfileError(f"{path}: profile {name!r} has {', '.join(unknown)}: expected some of {', '.join(known)}")
    return Profile(**{key: _settled(value, known[key], f"{path}: {key} of {name!r}") for key, value in table.items()})


def _settled(value: object, declared: Any, where: str) -> Any:  # noqa: ANN401 - a dataclass's field, and a value of it
    default = declared.default if declared.default is not MISSING else declared.default_factory()
    if isinstance(default, tuple):
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise ProfileError(f"{where} is {value!r}, expected a list of texts")
    if isinstance(default, dict):
        kinds = (str,) if declared.name == "data" else (str, int)
        if isinstance(value, dict) and all(isinstance(one, kinds) and one is not False for one in value.values()):
            return value
        raise ProfileError(
            f"{where} is {value!r}, expected a table of {'texts' if len(kinds) == 1 else 'plain values'}"
        )
    is_number = declared.name in ("memory", "cpus_per_task", "minutes", "signal_seconds")
    if is_number and type(value) is int and value >= (declared.name != "memory"):
        return value
    if not is_number and isinstance(value, str) and value:
        return value
    raise ProfileError(f"{where} is {value!r}, expected {'a whole number above 0' if is_number else 'text'}")
