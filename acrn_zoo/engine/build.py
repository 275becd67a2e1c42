"""From settings to the things that are trained: model, datasets, optimizer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.checkpoints import load_into
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import EvaluationDataset, TrainingDataset
from acrn_zoo.data.folder import DatasetFolder, read_dataset_folder
from acrn_zoo.data.transforms import ClipTransform, RandomAugmentation
from acrn_zoo.download import sha256_of
from acrn_zoo.engine.config import Config, DataConfig, ModelConfig, OptimizationConfig
from acrn_zoo.engine.settings import OF_BACKBONE, OF_DETECTOR
from acrn_zoo.engine.values import ConfigError, flag_of
from acrn_zoo.loading import architecture_of, read_checkpoint
from acrn_zoo.models import ActionDetector
from acrn_zoo.models.backbone import SlowFast, TemporalPool
from acrn_zoo.models.training import checkpoint_relation, freeze_stages, replace_classifier
from acrn_zoo.structures import Preprocessing
from acrn_zoo.weights import SlowFast_R50_Weights, resolve_detector, resolve_weights
from acrn_zoo.zoo import create_slowfast_detector


def create_model(
    config: Config,
    categories: Sequence[str],
    *,
    built: SlowFastArchitecture | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ActionDetector:
    """Build the model that a run starts from, on the CPU and in training mode.

    What is random depends on the seed of the settings alone; the state of PyTorch's generator is left as it is.

    Args:
        config: where the weights come from, and what does not learn.
        categories: the names of the K classes of the dataset.
        built: how the model of a run that goes on is built; its weights will come from the checkpoint, and those of
            the settings are not read. None if it begins.
        tell: is told in one sentence how large the model is, what the weights gave, and what starts anew; in another
            if they were trained on other clips.

    Raises:
        UserError: if weights cannot be fetched or read, or contradict the settings.
    """
    settings, names = config.model, tuple(categories)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimization.seed)
        if built is None:
            model, start = _start(settings, names)
        else:
            model, start = create_slowfast_detector(built), "its weights are those of the checkpoint"
    others = explain_other_clips(model.preprocessing, config.data)
    model.categories = names
    model.preprocessing = Preprocessing(
        config.data.clip_length, config.data.frame_interval, config.data.eval_short_side
    )
    assert isinstance(model.backbone, SlowFast)
    freeze_stages(model.backbone, settings.frozen_stages)
    if settings.checkpoint_relation:
        _checkpoint_relation(model)
    tell(f"{_described(model)}; {start}")
    if others:
        tell(others)
    return model.train()


def explain_other_clips(known: Preprocessing | None, data: DataConfig) -> str:
    """How the clips of the settings differ from those that weights were trained on, in one sentence.

    Args:
        known: what the weights say of their clips, if they do.
        data: the settings.

    Returns:
        The sentence, with the values of both; empty if there is no difference, or nobody knows.
    """
    if known is None:
        return ""
    theirs = {"clip_length": known.clip_length, "frame_interval": known.frame_interval}
    if not data.eval_scales:
        theirs["eval_short_side"] = known.short_side
    pairs = [(flag_of(name), value, getattr(data, name)) for name, value in theirs.items()]
    others = [(flag, value, ours) for flag, value, ours in pairs if not math.isclose(value, ours, rel_tol=1e-3)]
    if not others:
        return ""
    before = " ".join(f"{flag} {value:.6g}" for flag, value, _ in others)
    now = " ".join(f"{flag} {ours:.6g}" for flag, _, ours in others)
    return f"the weights were trained on other clips than these: {before} then, {now} now"


def load_weights(
    weights: str, *, temporal_pool: TemporalPool | None = None, dropout: float | None = None
) -> ActionDetector:
    """The detector that weights hold, as it is, in evaluation mode.

    Args:
        weights: what :func:`acrn_zoo.weights.resolve_detector` takes: ``mini``, a record's name, such as ``AVA22_V1``
            or ``SlowFast_R50_RoI_Weights.AVA22_V1``, or the path of a checkpoint, such as ``best.pth`` of a run.
        temporal_pool: for a checkpoint that does not tell how it pools over time; avg if not given.
        dropout: for training, instead of what the weights say.

    Raises:
        UserError: if they are unknown, cannot be fetched or read, or contradict ``temporal_pool``.
    """
    checkpoint = read_checkpoint(resolve_detector(weights), progress=True)
    architecture = architecture_of(checkpoint, temporal_pool or "avg")
    if temporal_pool not in (None, architecture.temporal_pool):
        raise ConfigError(
            f"--temporal-pool is {temporal_pool}, but {checkpoint.source} was trained with "
            f"{architecture.temporal_pool}: leave it out"
        )
    model = create_slowfast_detector(architecture if dropout is None else replace(architecture, dropout=dropout))
    load_into(model, checkpoint.converted.state_dict, source=checkpoint.source)
    model.categories, model.preprocessing = checkpoint.categories, checkpoint.preprocessing
    return model.eval()


def read_folder(config: Config) -> DatasetFolder:
    """The dataset folder of the settings.

    Raises:
        ConfigError: if they name none.
        UserError: if it cannot be read.
    """
    return read_dataset_folder(require_data(config.data.data))


def split_facts(folder: DatasetFolder, name: str) -> dict[str, object]:
    """What decides the results on a part of a dataset, beside its videos, in words that people understand.

    Raises:
        UserError: if there is no such split, or a file of it cannot be read.
    """
    split = folder.split(name)
    files = {"annotations": split.annotations, "excluded keyframes": split.excluded, "proposals": split.proposals}
    return {
        "classes": ", ".join(folder.label_map.categories),
        **{f"SHA-256 of the {name}": path and sha256_of(path)[:12] for name, path in files.items()},
    }


def require_data(data: Path | None) -> Path:
    """The dataset folder that settings name.

    Raises:
        ConfigError: if they name none.
    """
    if data is None:
        raise ConfigError(
            "--data is missing: name a dataset folder, such as `acrn-zoo data import` makes of your annotations"
        )
    return data


def require_weights(weights: str | None) -> str:
    """The weights that settings name.

    Raises:
        ConfigError: if they name none.
    """
    if weights is None:
        raise ConfigError("--weights is missing: name a record, such as AVA22_V1, or a checkpoint: a run's best.pth")
    return weights


def create_training_dataset(config: Config) -> TrainingDataset:
    """The clips to train on.

    Raises:
        UserError: if the folder, or a file of it, is missing or wrong.
    """
    data = config.data
    dataset = TrainingDataset.from_folder(
        read_folder(config), data.train_split, seed=config.optimization.seed, decoder=data.decoder
    )
    return replace(
        dataset,
        sampling=_sampling(data),
        augmentation=RandomAugmentation(data.short_side, data.crop, data.flip),
        jitter=data.jitter,
        min_score=data.min_score,
        with_unmatched=data.with_unmatched,
    )


def create_evaluation_dataset(config: Config, *, short_side: int | None = None) -> EvaluationDataset:
    """The clips to evaluate on.

    Args:
        config: which, and how.
        short_side: of the frames in pixels; ``eval_short_side`` of the settings if not given.

    Raises:
        UserError: if the folder, or a file of it, is missing or wrong, or there are no proposals.
    """
    data = config.data
    dataset = EvaluationDataset.from_folder(
        read_folder(config),
        data.val_split,
        people=data.people,
        min_score=data.min_score,
        sampling=_sampling(data),
        decoder=data.decoder,
    )
    return replace(dataset, transform=ClipTransform(short_side or data.eval_short_side))


def create_optimizer(model: torch.nn.Module, optimization: OptimizationConfig) -> torch.optim.Optimizer:
    """The optimizer of the settings over what learns, the parameters of BatchNorms included, as published.

    Its learning rate is 0: :func:`acrn_zoo.engine.schedule.learning_rate` has that of every step.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    momentum, decay = optimization.momentum, optimization.weight_decay
    if optimization.optimizer == "adamw":
        return torch.optim.AdamW(learning, lr=0.0, betas=(momentum, 0.999), weight_decay=decay)
    return torch.optim.SGD(learning, lr=0.0, momentum=momentum, weight_decay=decay)


def _sampling(data: DataConfig) -> ClipSampling:
    return ClipSampling(data.clip_length, data.frame_interval)


def _start(settings: ModelConfig, categories: tuple[str, ...]) -> tuple[ActionDetector, str]:
    """The model, and where it comes from."""
    if settings.weights is not None:
        return _from_detector(settings, settings.weights, categories)
    if settings.weights_backbone is not None:
        return _from_backbone(settings, settings.weights_backbone, len(categories))
    return create_slowfast_detector(settings.architecture(len(categories))), "all weights start anew"


def _from_detector(settings: ModelConfig, weights: str, categories: tuple[str, ...]) -> tuple[ActionDetector, str]:
    """Everything as in the weights, but for the classes that they do not know."""
    model = load_weights(weights, temporal_pool=settings.temporal_pool, dropout=settings.dropout)
    _require_agreement(settings, model, OF_DETECTOR, f"--weights {weights}")
    known = model.categories
    if known is None:
        raise ConfigError(
            f"--weights {weights} do not name their {model.num_classes} classes, so that none can be recognised: load "
            "them with acrn_zoo.load_detector, and write them with acrn_zoo.save_detector and the names"
        )
    if known == categories:
        return model, f"weights of {weights}, the classifier too, since the classes are the same"
    kept = [name for name in dict.fromkeys(categories) if name in known]
    new = [name for name in categories if name not in known]
    keep = {known.index(name): categories.index(name) for name in kept}
    start = (
        f"weights of {weights}; the classifier keeps {len(kept)} classes of the same name{_listed(kept)}, {len(new)} "
        f"start anew{_listed(new)}"
    )
    return replace_classifier(model, len(categories), categories, keep=keep), start


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f" ({shown})" if names else ""


def _from_backbone(settings: ModelConfig, weights: str, num_classes: int) -> tuple[ActionDetector, str]:
    """A new head on a backbone that has been trained, whose weights say how its lateral connections are made."""
    initial = resolve_weights(SlowFast_R50_Weights, weights)
    assert initial is not None
    checkpoint = read_checkpoint(initial, progress=True)
    architecture = replace(
        settings.architecture(num_classes),
        lateral_norm=checkpoint.converted.lateral_norm,
        res5_dilation=checkpoint.converted.res5_dilation,
        temporal_pool=settings.temporal_pool or checkpoint.temporal_pool or "avg",
    )
    model = create_slowfast_detector(architecture)
    _require_agreement(settings, model, OF_BACKBONE, f"--weights-backbone {weights}")
    load_into(model, checkpoint.converted.state_dict, source=checkpoint.source, prefix="backbone.")
    return model, f"backbone of {weights}, the head starts anew"


def _require_agreement(settings: ModelConfig, model: ActionDetector, names: tuple[str, ...], weights: str) -> None:
    """Settings that the weights decide may say the same, or be as if nobody had said anything."""
    for name in names:
        value, default, theirs = getattr(settings, name), getattr(ModelConfig, name), model.architecture[name]
        if value not in (default, theirs):
            raise ConfigError(f"{flag_of(name)} is {value!r}, but {weights} have {theirs!r}: say {theirs!r}")


def _checkpoint_relation(model: ActionDetector) -> None:
    try:
        checkpoint_relation(model)
    except TypeError as error:
        raise ConfigError(f"--checkpoint-relation: {error}") from error


def _described(model: ActionDetector) -> str:
    parameters = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total, learning = (sum(size for size, learns in parameters if learns or everything) for everything in (True, False))
    frozen = "" if learning == total else f" ({learning:,} learn)"
    return f"SlowFast with {model.architecture['relation']}, {model.num_classes} classes, {total:,} parameters{frozen}"
