"""What a record or a checkpoint file holds, and how its model must be built."""

from dataclasses import dataclass
from pathlib import Path

from torchvision.models._api import WeightsEnum

from acrn_zoo.architecture import ArchitectureError, SlowFastArchitecture
from acrn_zoo.checkpoints import load_checkpoint_file
from acrn_zoo.conversion import CheckpointError, Converted, convert
from acrn_zoo.download import fetch, sha256_of
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.structures import Preprocessing
from acrn_zoo.weights import DETECTORS, SlowFast_R50_Weights


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint file, read and brought under our names.

    Args:
        source: names it in errors.
        converted: its tensors and what they tell.
        temporal_pool: what it was trained with, if that is known.
        categories: the names of its actions, if they are known.
        preprocessing: which clips it was trained on, if that is known.
    """

    source: str
    converted: Converted
    temporal_pool: TemporalPool | None
    categories: tuple[str, ...] | None
    preprocessing: Preprocessing | None


def read_checkpoint(weights: WeightsEnum | Path, progress: bool) -> Checkpoint:
    """Fetch if need be, read and convert. A published file is known by its hash even under another name.

    Raises:
        UserError: if the file cannot be fetched, or is missing, damaged, unsafe or of another model.
    """
    if isinstance(weights, Path):
        path, source = weights.expanduser(), str(weights)
        content = load_checkpoint_file(path)
        record = _published_record(path)
    else:
        name = weights.url.rsplit("/", 1)[1]
        argument = "weights_backbone" if isinstance(weights, SlowFast_R50_Weights) else "weights"
        path = fetch(
            weights.url,
            sha256_prefix=weights.meta["sha256_prefix"],
            progress=progress,
            advice=f'pass its path ({argument}="path/to/{name}"; on the command line --weights path/to/{name})',
        )
        source, record = f"{weights!r} ({path})", weights
        content = load_checkpoint_file(path)
    try:
        converted = convert(content)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    if record is None:
        known = _known_preprocessing(converted, source)
        return Checkpoint(source, converted, converted.temporal_pool, converted.categories, known)
    meta, short_side = record.meta, record.transforms().short_side
    clips = Preprocessing(meta["clip_length"], meta["frame_interval"], short_side)
    return Checkpoint(source, converted, meta["temporal_pool"], meta["categories"] or None, clips)


def architecture_of(checkpoint: Checkpoint, unknown_pool: TemporalPool) -> SlowFastArchitecture:
    """How to build the detector of a checkpoint: as its file says, else as its tensors show.

    Tensors do not show the spatial stride: where the file does not say it, it is 16.

    Args:
        checkpoint: of a whole detector.
        unknown_pool: what to take where the checkpoint does not tell how it pools over time.

    Raises:
        CheckpointError: if it holds no detector, or one that cannot be built.
    """
    converted = checkpoint.converted
    if converted.architecture:
        try:
            return SlowFastArchitecture(**converted.architecture)
        except (TypeError, ArchitectureError) as error:
            raise CheckpointError(
                f"{checkpoint.source} holds the architecture {converted.architecture}, which this version of acrn_zoo "
                f"cannot build: {error}"
            ) from error
    if converted.num_classes is None:
        raise CheckpointError(
            f"{checkpoint.source} holds no classifier for actors, only a backbone ({converted.layout}): pass it as "
            "weights_backbone."
        )
    if converted.depth is None or converted.width is None:
        raise CheckpointError(f"{checkpoint.source} holds a network of unknown depth: expected 18, 50, 101 or 152.")
    return SlowFastArchitecture(
        relation=converted.relation,
        depth=converted.depth,
        alpha=converted.alpha or 8,  # MMAction2's 8x8 has a lateral kernel of 7 frames, its 4x16 one of 5
        beta=converted.beta or 8,
        width=converted.width,
        temporal_pool=checkpoint.temporal_pool or unknown_pool,
        lateral_norm=converted.lateral_norm,
        res5_dilation=converted.res5_dilation,
        relation_channels=converted.relation_channels,
        num_classes=converted.num_classes,
    )


def _known_preprocessing(converted: Converted, source: str) -> Preprocessing | None:
    try:
        return Preprocessing(**converted.preprocessing) if converted.preprocessing else None
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{source} says that it was trained on clips of {converted.preprocessing}, which this version of acrn_zoo "
            f"cannot make: {error}"
        ) from error


def _published_record(path: Path) -> WeightsEnum | None:
    digest = sha256_of(path)
    published: tuple[type[WeightsEnum], ...] = (*DETECTORS, SlowFast_R50_Weights)
    for records in published:
        for record in records.__members__.values():
            prefix = record.meta["sha256_prefix"]
            if prefix is not None and digest.startswith(prefix):
                return record
    return None
