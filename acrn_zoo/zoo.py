"""The zoo: functions that wire concrete parts into named models. The only place that does."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from torchvision.models._api import WeightsEnum

from acrn_zoo.architecture import ArchitectureError, SlowFastArchitecture
from acrn_zoo.checkpoints import load_into, save_checkpoint
from acrn_zoo.conversion import CheckpointError
from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.loading import Checkpoint, architecture_of, read_checkpoint
from acrn_zoo.models import (
    ActionDetector,
    ActionHead,
    ActorCentricRelation,
    ActorOnly,
    PooledScene,
    RelationHead,
    RoIPooling,
    SceneAttention,
    create_slowfast_backbone,
)
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.models.relation import Relation
from acrn_zoo.weights import (
    SlowFast_ACRN_Mini_Weights,
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_R50_Weights,
    WeightsError,
    resolve_weights,
)

MINI = SlowFastArchitecture(
    depth=18, alpha=4, beta=2, width=8, spatial_stride=8, relation_channels=128, num_classes=7, dropout=0.0
)
"""What :func:`slowfast_acrn_mini` builds, and the recipe ``small_world`` trains."""

WeightsFile: TypeAlias = str | os.PathLike[str]
"""The name of a record, or the path of a checkpoint file."""


def slowfast_r50_acrn(
    *,
    weights: SlowFast_R50_ACRN_Weights | WeightsFile | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    weights_backbone: SlowFast_R50_Weights | WeightsFile | None = None,
    temporal_pool: TemporalPool | None = None,
    dropout: float | None = None,
) -> ActionDetector:
    """SlowFast R50 8x8 with the actor-centric relation head (Sun et al., ECCV 2018).

    With no weights nothing is fetched and the values are random.

    Args:
        weights: a record of :class:`SlowFast_R50_ACRN_Weights`, its name ("AVA22_V1", "DEFAULT"), or the path of
            a checkpoint file: the published ones, one of this project, or one that you trained with MMAction2.
        progress: show a bar while a file is fetched.
        num_classes: K; 80 if neither this nor the weights say.
        weights_backbone: initial weights for the backbone alone, when ``weights`` is None.
        temporal_pool: "avg" or "max" over time. With ``weights`` it is needed only for the path of a checkpoint that
            does not tell which it was trained with; "avg" where nothing says.
        dropout: probability of dropping an entry of the relation map in training; 0.5 if neither this nor a file of
            this project says.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, T, H, W], boxes) -> logits [R, K]``, in training mode
        without weights, in evaluation mode with them.

    Raises:
        UserError: if the weights are unknown, cannot be fetched, are damaged or are of another model, or if a
            number contradicts them.
    """
    wanted = _Wanted(num_classes, temporal_pool, dropout)
    return _slowfast("acrn", wanted, SlowFast_R50_ACRN_Weights, weights, weights_backbone, progress)


def slowfast_r50_roi(
    *,
    weights: SlowFast_R50_RoI_Weights | WeightsFile | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    weights_backbone: SlowFast_R50_Weights | WeightsFile | None = None,
    temporal_pool: TemporalPool | None = None,
    dropout: float | None = None,
) -> ActionDetector:
    """SlowFast R50 8x8 that looks at each actor's box alone: the baseline without relations.

    Args:
        weights: a record of :class:`SlowFast_R50_RoI_Weights`, its name, or the path of a checkpoint file.
        progress: show a bar while a file is fetched.
        num_classes: K; 80 if neither this nor the weights say.
        weights_backbone: initial weights for the backbone alone, when ``weights`` is None.
        temporal_pool: "avg" or "max" over time; as for :func:`slowfast_r50_acrn`.
        dropout: probability of dropping an entry of the actor's window in training; 0.5 if nothing is said.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, T, H, W], boxes) -> logits [R, K]``.

    Raises:
        UserError: if the weights are unknown, cannot be fetched, are damaged or are of another model, or if a
            number contradicts them.
    """
    wanted = _Wanted(num_classes, temporal_pool, dropout)
    return _slowfast("actor_only", wanted, SlowFast_R50_RoI_Weights, weights, weights_backbone, progress)


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
    return _ava("AVA21", pretrained, progress, weights, temporal_pool)


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
    return _ava("AVA22", pretrained, progress, weights, temporal_pool)


def slowfast_acrn_mini(
    pretrained: bool = True,
    progress: bool = True,
    *,
    weights: SlowFast_ACRN_Mini_Weights | WeightsFile | None = None,
) -> ActionDetector:
    """A small SlowFast with the actor-centric relation head, trained on the generated small world: a toy.

    It shows in seconds, offline and on any machine, what a relation is: ``acrn-zoo demo``. Its weights come with the
    package.

    Args:
        pretrained: load the weights; False gives random values, unless ``weights`` are named.
        progress: of no account; all functions of the zoo take it.
        weights: a record of :class:`SlowFast_ACRN_Mini_Weights`, its name, or the path of a checkpoint file of the
            same model, such as ``best.pth`` of ``acrn-zoo train small_world``.

    Returns:
        An :class:`ActionDetector`: ``model(clips [N, 3, 8, H, W], boxes) -> logits [R, 7]``, in training mode without
        weights, in evaluation mode with them.
    """
    _require_bool(pretrained)
    chosen = resolve_weights(SlowFast_ACRN_Mini_Weights, weights)
    if chosen is None and not pretrained:
        return create_slowfast_detector(MINI)
    checkpoint = read_checkpoint(chosen or SlowFast_ACRN_Mini_Weights.DEFAULT, progress)
    found = architecture_of(checkpoint, MINI.temporal_pool)
    _require_same(checkpoint, found, MINI, tuple(field.name for field in fields(MINI) if field.name != "dropout"))
    return _load_detector(checkpoint, found, _Wanted())


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
    features = in_channels if relation_channels is None else relation_channels
    relation = ActorCentricRelation(in_channels, features, dropout)
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


def create_slowfast_detector(architecture: SlowFastArchitecture) -> ActionDetector:
    """Build a SlowFast detector with random weights."""
    backbone = create_slowfast_backbone(
        depth=architecture.depth,
        alpha=architecture.alpha,
        beta=architecture.beta,
        width=architecture.width,
        temporal_pool=architecture.temporal_pool,
        lateral_norm=architecture.lateral_norm,
        res5_dilation=architecture.res5_dilation,
        spatial_stride=architecture.spatial_stride,
    )
    relation = _create_relation(architecture, backbone.out_channels)
    head = ActionHead(RoIPooling(1 / backbone.spatial_stride), relation, architecture.num_classes)
    return ActionDetector(backbone, head, architecture=asdict(architecture))


def _create_relation(architecture: SlowFastArchitecture, in_channels: int) -> RelationHead:
    if architecture.relation == "actor_only":
        return ActorOnly(in_channels, architecture.dropout)
    heads = {"acrn": ActorCentricRelation, "pooled_scene": PooledScene, "scene_attention": SceneAttention}
    return heads[architecture.relation](
        in_channels, architecture.relation_channels or in_channels, architecture.dropout
    )


def load_detector(
    path: WeightsEnum | str | os.PathLike[str], *, temporal_pool: TemporalPool | None = None
) -> ActionDetector:
    """Build the SlowFast detector that a checkpoint file holds, with or without a relation head.

    Args:
        path: a file of this project, or of MMAction2 (SlowFast, plain or ACRN, 0.x or 1.x); or a record of published
            weights, whose file is fetched.
        temporal_pool: "avg" or "max", for a file that does not tell; "avg" if not given.

    Returns:
        The detector in evaluation mode, with the names of its actions if they are known.

    Raises:
        UserError: if the file is missing, damaged or of another model, or ``temporal_pool`` contradicts it.
    """
    checkpoint = read_checkpoint(path if isinstance(path, WeightsEnum) else Path(path), progress=True)
    found = architecture_of(checkpoint, temporal_pool or "avg")
    return _load_detector(checkpoint, found, _Wanted(temporal_pool=temporal_pool))


def save_detector(
    path: str | os.PathLike[str],
    detector: ActionDetector,
    categories: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write a detector to a file that :func:`load_detector` and the named models read.

    Args:
        path: the file to write.
        detector: one that this module has built.
        categories: the names of its actions; its own if not given.
        overwrite: whether an existing file may be replaced.

    Raises:
        ArchitectureError: if the detector was put together by hand: nothing says how to build it again.
        CheckpointError: if the file cannot be written, or the names are not as many as the actions.
    """
    if not detector.architecture:
        raise ArchitectureError(
            "this detector was put together by hand, so a file could not say how to build it: save its state_dict()"
        )
    names = categories if categories is not None else detector.categories
    if names is None:
        names = [f"action {number}" for number in range(1, detector.num_classes + 1)]
    known = detector.preprocessing
    save_checkpoint(
        path,
        detector,
        architecture=detector.architecture,
        categories=names,
        preprocessing=None if known is None else asdict(known),
        overwrite=overwrite,
    )


@dataclass(frozen=True)
class _Wanted:
    """What the caller asked for; None leaves it to the weights."""

    num_classes: int | None = None
    temporal_pool: TemporalPool | None = None
    dropout: float | None = None


Record = TypeVar("Record", bound=WeightsEnum)


def _slowfast(
    relation: Relation,
    wanted: _Wanted,
    records: type[Record],
    weights: Record | WeightsFile | None,
    weights_backbone: SlowFast_R50_Weights | WeightsFile | None,
    progress: bool,
) -> ActionDetector:
    """SlowFast R50 8x8 with a relation head: from weights, from a backbone's initial weights, or random."""
    chosen = resolve_weights(records, weights)
    initial = resolve_weights(SlowFast_R50_Weights, weights_backbone)
    named = _asked_for(SlowFastArchitecture(relation=relation), wanted)
    if chosen is None:
        return create_slowfast_detector(named) if initial is None else _initialised(named, wanted, initial, progress)
    if initial is not None:
        raise ArchitectureError("weights_backbone goes with weights=None: `weights` bring their own backbone")
    checkpoint = read_checkpoint(chosen, progress)
    found = architecture_of(checkpoint, wanted.temporal_pool or "avg")
    decisive = ("relation", "depth", "alpha", "beta", "width", "spatial_stride", "relation_channels")
    _require_same(checkpoint, found, named, decisive)
    return _load_detector(checkpoint, found, wanted)


def _require_same(
    checkpoint: Checkpoint, found: SlowFastArchitecture, named: SlowFastArchitecture, names: Sequence[str]
) -> None:
    for name in names:
        if getattr(found, name) != getattr(named, name):
            raise CheckpointError(
                f"{checkpoint.source} holds a detector with {name}={getattr(found, name)!r}, expected "
                f"{getattr(named, name)!r}: load_detector(path) builds whatever a file holds."
            )


def _initialised(
    named: SlowFastArchitecture, wanted: _Wanted, initial: SlowFast_R50_Weights | Path, progress: bool
) -> ActionDetector:
    """A detector whose backbone has initial weights; how it pools over time may still be chosen."""
    checkpoint = read_checkpoint(initial, progress)
    architecture = replace(
        named,
        lateral_norm=checkpoint.converted.lateral_norm,
        res5_dilation=checkpoint.converted.res5_dilation,
        temporal_pool=wanted.temporal_pool or checkpoint.temporal_pool or "avg",
    )
    detector = create_slowfast_detector(architecture)
    load_into(detector, checkpoint.converted.state_dict, source=checkpoint.source, prefix="backbone.")
    return detector


def _load_detector(checkpoint: Checkpoint, found: SlowFastArchitecture, wanted: _Wanted) -> ActionDetector:
    for name, value, theirs in (
        ("num_classes", wanted.num_classes, found.num_classes),
        ("temporal_pool", wanted.temporal_pool, found.temporal_pool),
    ):
        if value not in (None, theirs):
            raise ArchitectureError(
                f"{name}={value!r} contradicts {checkpoint.source}, which has {theirs!r}: leave {name} out"
            )
    detector = create_slowfast_detector(_asked_for(found, wanted))
    load_into(detector, checkpoint.converted.state_dict, source=checkpoint.source)
    detector.categories, detector.preprocessing = checkpoint.categories, checkpoint.preprocessing
    return detector.eval()


def _asked_for(architecture: SlowFastArchitecture, wanted: _Wanted) -> SlowFastArchitecture:
    return replace(architecture, **{name: value for name, value in asdict(wanted).items() if value is not None})


def _ava(
    dataset: str,
    pretrained: bool,
    progress: bool,
    weights: SlowFast_R50_ACRN_Weights | WeightsFile | None,
    temporal_pool: TemporalPool | None,
) -> ActionDetector:
    """A function named after a dataset takes that dataset's records, or any file of as many actions."""
    _require_bool(pretrained)
    newest: SlowFast_R50_ACRN_Weights = SlowFast_R50_ACRN_Weights.__members__[f"{dataset}_V1"]
    is_default = weights == "DEFAULT" or (weights is None and pretrained)
    chosen = newest if is_default else resolve_weights(SlowFast_R50_ACRN_Weights, weights)
    if isinstance(chosen, SlowFast_R50_ACRN_Weights) and not chosen.name.startswith(dataset):
        names = ", ".join(name for name in SlowFast_R50_ACRN_Weights.__members__ if name.startswith(dataset))
        raise WeightsError(
            f"weights={chosen.name} are not of this dataset: expected one of {names}, the path of a checkpoint file, "
            "or None"
        )
    detector = slowfast_r50_acrn(weights=chosen, progress=progress, temporal_pool=temporal_pool)
    if detector.num_classes != len(CATEGORIES):
        raise ArchitectureError(
            f"{chosen} has {detector.num_classes} actions, not AVA's {len(CATEGORIES)}: slowfast_r50_acrn(weights=...) "
            "takes it"
        )
    return detector


def _require_bool(pretrained: bool) -> None:
    if not isinstance(pretrained, bool):
        raise ArchitectureError(f"pretrained is {pretrained!r}, expected True or False: name weights with weights=")
