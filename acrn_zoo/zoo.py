"""The zoo: functions that wire concrete parts into named models. The only place that does."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from torchvision.models._api import BUILTIN_MODELS, WeightsEnum, register_model

from acrn_zoo.checkpoints import (
    CheckpointError,
    Converted,
    convert,
    fetch,
    load_checkpoint_file,
    load_into,
    save_checkpoint,
)
from acrn_zoo.download import sha256_of
from acrn_zoo.errors import UserError
from acrn_zoo.models import (
    ActionDetector,
    ActionHead,
    ActorCentricRelation,
    ActorOnly,
    RoIPooling,
    create_slowfast_backbone,
)
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.weights import (
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_R50_Weights,
    WeightsError,
    resolve_weights,
)

Relation: TypeAlias = Literal["acrn", "actor_only"]
WeightsFile: TypeAlias = str | os.PathLike[str]
"""The name of a record, or the path of a checkpoint file."""


class ArchitectureError(UserError, ValueError):
    """A number contradicts the weights, or is none that a model can be built with."""


def slowfast_r50_acrn(
    *,
    weights: SlowFast_R50_ACRN_Weights | WeightsFile | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    weights_backbone: SlowFast_R50_Weights | WeightsFile | None = None,
    temporal_pool: TemporalPool | None = None,
    dropout: float = 0.5,
) -> ActionDetector:
    """SlowFast R50 8x8 with the actor-centric relation head (Sun et al., ECCV 2018).

    With no weights nothing is fetched and the values are random.

    Args:
        weights: a record of :class:`SlowFast_R50_ACRN_Weights`, its name ("AVA22_V1", "DEFAULT"), or the path of
            a checkpoint file: the published ones, one of this project, or one that you trained with MMAction2.
        progress: show a bar while a file is fetched.
        num_classes: K; 80 if neither this nor the weights say.
        weights_backbone: initial weights for the backbone alone, when ``weights`` is None.
        temporal_pool: "avg" or "max" over time; needed only with the path of a checkpoint that does not tell
            which it was trained with (then "avg" unless given).
        dropout: probability of dropping an entry of the relation map in training.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, T, H, W], boxes) -> logits [R, K]``, in training mode
        without weights, in evaluation mode with them.

    Raises:
        UserError: if the weights are unknown, cannot be fetched, are damaged or are of another model, or if a
            number contradicts them.
    """
    architecture = SlowFastArchitecture(relation="acrn", dropout=dropout)
    wanted = _Wanted(num_classes, temporal_pool)
    return _slowfast(architecture, wanted, SlowFast_R50_ACRN_Weights, weights, weights_backbone, progress)


def slowfast_r50_roi(
    *,
    weights: SlowFast_R50_RoI_Weights | WeightsFile | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    weights_backbone: SlowFast_R50_Weights | WeightsFile | None = None,
    temporal_pool: TemporalPool | None = None,
    dropout: float = 0.5,
) -> ActionDetector:
    """SlowFast R50 8x8 that looks at each actor's box alone: the baseline without relations.

    Args:
        weights: a record of :class:`SlowFast_R50_RoI_Weights`, its name, or the path of a checkpoint file.
        progress: show a bar while a file is fetched.
        num_classes: K; 80 if neither this nor the weights say.
        weights_backbone: initial weights for the backbone alone, when ``weights`` is None.
        temporal_pool: "avg" or "max" over time; as for :func:`slowfast_r50_acrn`.
        dropout: probability of dropping an entry of the actor's window in training.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, T, H, W], boxes) -> logits [R, K]``.

    Raises:
        UserError: if the weights are unknown, cannot be fetched, are damaged or are of another model, or if a
            number contradicts them.
    """
    architecture = SlowFastArchitecture(relation="actor_only", dropout=dropout)
    wanted = _Wanted(num_classes, temporal_pool)
    return _slowfast(architecture, wanted, SlowFast_R50_RoI_Weights, weights, weights_backbone, progress)


def slowfast_acrn_ava21(
    pretrained: bool = True,
    progress: bool = True,
    *,
    weights: SlowFast_R50_ACRN_Weights | WeightsFile | None = None,
    temporal_pool: TemporalPool | None = None,
) -> ActionDetector:
    """SlowFast R50 8x8 with the actor-centric relation head, trained on AVA 2.1 (27.65 mAP as published).

    Args:
        pretrained: load the published weights; False gives random values, unless ``weights`` are named, and touches
            no network.
        progress: show a bar while the file is fetched (369 MB, once).
        weights: other weights than the newest for AVA 2.1: a record, its name ("AVA21_V0": 27.1 mAP), or the
            path of a checkpoint file in any known layout.
        temporal_pool: "avg" or "max" over time, for the path of a checkpoint that does not tell; "avg" if not given.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, 32, H, W], boxes) -> logits [R, 80]``.
    """
    newest = SlowFast_R50_ACRN_Weights.AVA21_V1 if pretrained else None
    chosen = _of_dataset("AVA21", weights) or newest
    return slowfast_r50_acrn(weights=chosen, progress=progress, temporal_pool=temporal_pool)


def slowfast_acrn_ava22(
    pretrained: bool = True,
    progress: bool = True,
    *,
    weights: SlowFast_R50_ACRN_Weights | WeightsFile | None = None,
    temporal_pool: TemporalPool | None = None,
) -> ActionDetector:
    """SlowFast R50 8x8 with the actor-centric relation head, trained on AVA 2.2 (27.71 mAP as published).

    Args:
        pretrained: load the published weights; False gives random values, unless ``weights`` are named, and touches
            no network.
        progress: show a bar while the file is fetched (369 MB, once).
        weights: other weights than the newest for AVA 2.2: a record, its name ("AVA22_V0": 27.8 mAP), or the
            path of a checkpoint file in any known layout.
        temporal_pool: "avg" or "max" over time, for the path of a checkpoint that does not tell; "avg" if not given.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, 32, H, W], boxes) -> logits [R, 80]``.
    """
    newest = SlowFast_R50_ACRN_Weights.AVA22_V1 if pretrained else None
    chosen = _of_dataset("AVA22", weights) or newest
    return slowfast_r50_acrn(weights=chosen, progress=progress, temporal_pool=temporal_pool)


def create_acrn_head(
    in_channels: int,
    num_classes: int = 80,
    *,
    relation_channels: int | None = None,
    spatial_stride: int = 16,
    roi_size: int = 8,
    dropout: float = 0.5,
) -> ActionHead:
    """Build RoI pooling, actor-centric relation and classifier for any backbone.

    With a backbone it makes a detector: ``ActionDetector(backbone, create_acrn_head(2304))``. It also takes what
    PyTorchVideo's ``DetectionBBoxNetwork`` hands to its head: a map ``[N, C, h, w]`` and RoI rows ``[R, 5]``. A
    network that still has its time axis becomes such a backbone by :class:`acrn_zoo.models.TimePooled`.

    Args:
        in_channels: C, channels of the backbone's map.
        num_classes: K.
        relation_channels: D, channels of the relation; C unless given.
        spatial_stride: pixels of the clip per cell of the map.
        roi_size: bins along each side of an actor's window.
        dropout: probability of dropping an entry of the relation map in training.
    """
    relation = ActorCentricRelation(in_channels, relation_channels or in_channels, dropout)
    return ActionHead(RoIPooling(1 / spatial_stride, roi_size), relation, num_classes)


def create_roi_head(
    in_channels: int,
    num_classes: int = 80,
    *,
    spatial_stride: int = 16,
    roi_size: int = 8,
    dropout: float = 0.5,
) -> ActionHead:
    """Build RoI pooling and classifier without a relation for any backbone; see :func:`create_acrn_head`."""
    return ActionHead(RoIPooling(1 / spatial_stride, roi_size), ActorOnly(in_channels, dropout), num_classes)


@dataclass(frozen=True)
class SlowFastArchitecture:
    """Every number that decides how a SlowFast detector is built; saved beside its weights.

    Args:
        relation: "acrn", or "actor_only" for the baseline without relations.
        depth: layers of the residual networks, 50 or 101 (18 and 152 build too).
        alpha: ratio of the pathways' frame rates: 4 is 8x8, 8 is 4x16 (of 32 frames).
        width: channels of the slow pathway's stem.
        temporal_pool: "avg" or "max" over time.
        lateral_norm: BatchNorm and ReLU behind the lateral convolutions.
        res5_dilation: dilation of the last stage.
        relation_channels: D, channels of the relation; those of the backbone if None.
        num_classes: K.
        dropout: probability of dropping an entry before the last maximum, in training.
    """

    relation: Relation = "acrn"
    depth: int = 50
    alpha: int = 4
    width: int = 64
    temporal_pool: TemporalPool = "avg"
    lateral_norm: bool = False
    res5_dilation: int = 1
    relation_channels: int | None = None
    num_classes: int = 80
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.relation not in get_args(Relation):
            raise ArchitectureError(f"relation is {self.relation!r}, expected one of {', '.join(get_args(Relation))}")
        if self.num_classes < 1:
            raise ArchitectureError(f"num_classes is {self.num_classes}, expected at least 1")


def create_slowfast_detector(architecture: SlowFastArchitecture) -> ActionDetector:
    """Build a SlowFast detector with random weights."""
    backbone = create_slowfast_backbone(
        depth=architecture.depth,
        alpha=architecture.alpha,
        width=architecture.width,
        temporal_pool=architecture.temporal_pool,
        lateral_norm=architecture.lateral_norm,
        res5_dilation=architecture.res5_dilation,
    )
    if architecture.relation == "acrn":
        head = create_acrn_head(
            backbone.out_channels,
            architecture.num_classes,
            relation_channels=architecture.relation_channels,
            spatial_stride=backbone.spatial_stride,
            dropout=architecture.dropout,
        )
    else:
        head = create_roi_head(
            backbone.out_channels,
            architecture.num_classes,
            spatial_stride=backbone.spatial_stride,
            dropout=architecture.dropout,
        )
    return ActionDetector(backbone, head)


def load_detector(path: str | os.PathLike[str], *, temporal_pool: TemporalPool | None = None) -> ActionDetector:
    """Build the SlowFast detector that a checkpoint file holds, with or without a relation head.

    Args:
        path: a file of this project, or of MMAction2 (SlowFast R50 or R101, plain or ACRN, 0.x or 1.x).
        temporal_pool: "avg" or "max", for a file that does not tell; "avg" if not given.

    Returns:
        The detector in evaluation mode, with the names of its actions if the file has them.

    Raises:
        UserError: if the file is missing, damaged or of another model, or ``temporal_pool`` contradicts it.
    """
    checkpoint = _read_checkpoint(Path(path), progress=False)
    return _load_detector(checkpoint, _Wanted(num_classes=None, temporal_pool=temporal_pool))


@dataclass(frozen=True)
class _Wanted:
    """What the caller asked for; None leaves it to the weights."""

    num_classes: int | None
    temporal_pool: TemporalPool | None


@dataclass(frozen=True, eq=False)
class _Checkpoint:
    """A checkpoint file read and brought under our names; ``source`` names it in errors."""

    source: str
    converted: Converted
    temporal_pool: TemporalPool | None


def _of_dataset(
    dataset: str, weights: SlowFast_R50_ACRN_Weights | WeightsFile | None
) -> SlowFast_R50_ACRN_Weights | Path | None:
    """A function named after a dataset takes that dataset's records, or any file."""
    chosen = resolve_weights(SlowFast_R50_ACRN_Weights, weights)
    if isinstance(chosen, SlowFast_R50_ACRN_Weights) and not chosen.name.startswith(dataset):
        names = ", ".join(
            record.name for record in SlowFast_R50_ACRN_Weights.__members__.values() if record.name.startswith(dataset)
        )
        raise WeightsError(
            f"weights={chosen.name} are not of this dataset: expected one of {names}, the path of a checkpoint file, "
            "or None"
        )
    return chosen


Record = TypeVar("Record", bound=WeightsEnum)


def _slowfast(
    named: SlowFastArchitecture,
    wanted: _Wanted,
    records: type[Record],
    weights: Record | WeightsFile | None,
    weights_backbone: SlowFast_R50_Weights | WeightsFile | None,
    progress: bool,
) -> ActionDetector:
    chosen = resolve_weights(records, weights)
    initial = resolve_weights(SlowFast_R50_Weights, weights_backbone)
    if chosen is None:
        return _initial_detector(named, wanted, initial, progress)
    if initial is not None:
        raise ArchitectureError("weights_backbone goes with weights=None: `weights` bring their own backbone")
    checkpoint = _read_checkpoint(chosen, progress)
    _require_same_model(checkpoint, named)
    return _load_detector(checkpoint, wanted)


def _initial_detector(
    named: SlowFastArchitecture,
    wanted: _Wanted,
    initial: SlowFast_R50_Weights | Path | None,
    progress: bool,
) -> ActionDetector:
    """A detector with random values, its backbone with initial weights if there are any."""
    architecture = replace(
        named,
        num_classes=80 if wanted.num_classes is None else wanted.num_classes,
        temporal_pool=wanted.temporal_pool or "avg",
    )
    if initial is None:
        return create_slowfast_detector(architecture)
    checkpoint = _read_checkpoint(initial, progress)
    converted = checkpoint.converted
    architecture = replace(architecture, lateral_norm=converted.lateral_norm, res5_dilation=converted.res5_dilation)
    detector = create_slowfast_detector(architecture)
    load_into(detector, converted.state_dict, source=checkpoint.source, prefix="backbone.")
    return detector


def _load_detector(checkpoint: _Checkpoint, wanted: _Wanted) -> ActionDetector:
    found = _architecture_of(checkpoint, wanted)
    for name, value, theirs in (
        ("num_classes", wanted.num_classes, found.num_classes),
        ("temporal_pool", wanted.temporal_pool, found.temporal_pool),
    ):
        if value not in (None, theirs):
            raise ArchitectureError(
                f"{name}={value!r} contradicts {checkpoint.source}, which has {theirs!r}: leave {name} out"
            )
    detector = create_slowfast_detector(found)
    load_into(detector, checkpoint.converted.state_dict, source=checkpoint.source)
    detector.categories = checkpoint.converted.categories
    return detector.eval()


def _architecture_of(checkpoint: _Checkpoint, wanted: _Wanted) -> SlowFastArchitecture:
    """How to build the model of a checkpoint: as its file says, else as its tensors show."""
    converted = checkpoint.converted
    if converted.architecture:
        return _saved_architecture(checkpoint)
    if converted.num_classes is None or converted.depth is None:
        raise CheckpointError(
            f"{checkpoint.source} holds no classifier for actors, only a backbone ({converted.layout}): pass it as "
            "weights_backbone."
        )
    return SlowFastArchitecture(
        relation="acrn" if converted.has_relation else "actor_only",
        depth=converted.depth,
        alpha=converted.alpha or 8,  # MMAction2's 8x8 has a lateral kernel of 7 frames, its 4x16 one of 5
        temporal_pool=checkpoint.temporal_pool or wanted.temporal_pool or "avg",
        lateral_norm=converted.lateral_norm,
        res5_dilation=converted.res5_dilation,
        num_classes=converted.num_classes,
    )


def _saved_architecture(checkpoint: _Checkpoint) -> SlowFastArchitecture:
    saved: dict[str, Any] = checkpoint.converted.architecture
    try:
        return SlowFastArchitecture(**saved)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint.source} holds the architecture {saved}, which this version of acrn_zoo cannot build: {error}"
        ) from error


def _require_same_model(checkpoint: _Checkpoint, named: SlowFastArchitecture) -> None:
    """A function that promises R50 8x8 with a certain relation gives that or an error."""
    found = _architecture_of(checkpoint, _Wanted(None, None))
    for name in ("relation", "depth", "alpha", "width", "relation_channels"):
        if getattr(found, name) != getattr(named, name):
            raise CheckpointError(
                f"{checkpoint.source} holds a detector with {name}={getattr(found, name)!r}, expected "
                f"{getattr(named, name)!r}: load_detector(path) builds whatever a file holds."
            )


def _read_checkpoint(weights: WeightsEnum | Path, progress: bool) -> _Checkpoint:
    """Fetch if need be, read and convert. A published file is known by its hash even under another name."""
    if isinstance(weights, Path):
        path, source = weights, str(weights)
        content = load_checkpoint_file(path)
        record = _published_record(path)
    else:
        path = fetch(weights.url, sha256_prefix=weights.meta["sha256_prefix"], progress=progress)
        source, record = f"{weights!r} ({path})", weights
        content = load_checkpoint_file(path)
    try:
        converted = convert(content)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    known_pool: Any = converted.temporal_pool if record is None else record.meta["temporal_pool"]
    return _Checkpoint(source, converted, known_pool)


def _published_record(path: Path) -> WeightsEnum | None:
    digest = sha256_of(path)
    for records in (SlowFast_R50_ACRN_Weights, SlowFast_R50_RoI_Weights, SlowFast_R50_Weights):
        for record in records.__members__.values():
            prefix = record.meta["sha256_prefix"]
            if prefix is not None and digest.startswith(prefix):
                return record
    return None


def save_detector(
    path: str | os.PathLike[str],
    detector: ActionDetector,
    architecture: SlowFastArchitecture,
    categories: tuple[str, ...],
    *,
    overwrite: bool = False,
) -> None:
    """Write a detector to a file that :func:`load_detector` and the named models read."""
    save_checkpoint(path, detector, architecture=asdict(architecture), categories=categories, overwrite=overwrite)


def _register() -> None:
    """Make the models known to ``torchvision.models.get_model``; a second import must not register twice."""
    for builder in (slowfast_r50_acrn, slowfast_r50_roi):
        if builder.__name__ not in BUILTIN_MODELS:
            register_model()(builder)


_register()
