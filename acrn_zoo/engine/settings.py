"""The settings of a training run, in four groups of frozen dataclasses; :mod:`acrn_zoo.engine.config` joins them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acrn_zoo.architecture import ArchitectureError, SlowFastArchitecture
from acrn_zoo.engine.values import ConfigError, at_least, flag_of, require, settle
from acrn_zoo.models.backbone import MIN_CLIP_LENGTH, TemporalPool
from acrn_zoo.models.relation import Relation

Schedule = Literal["warmup_then_cosine", "cosine_times_warmup"]
Optimizer = Literal["sgd", "adamw"]
Precision = Literal["float32", "bfloat16", "float16"]

OF_BACKBONE = ("lateral_norm", "res5_dilation")
"""What the weights of a backbone decide."""

OF_DETECTOR = ("relation", "depth", "alpha", "beta", "width", "spatial_stride", *OF_BACKBONE, "relation_channels")
"""What the weights of a whole detector decide."""


@dataclass(frozen=True)
class ModelConfig:
    """What is trained.

    Weights say how the model is built: beside --weights, the flags from --relation to --relation-channels may only say
    the same or be left at the values that they have without a recipe; beside --weights-backbone, --lateral-norm and
    --res5-dilation.

    Args:
        relation: what an actor is seen together with: acrn is the published model, actor_only the baseline.
        depth: layers of the residual networks: 18, 50, 101 or 152.
        alpha: ratio of the frame rates of the fast and the slow pathway.
        beta: ratio of the pathways' channels.
        width: channels of the slow pathway's stem, a multiple of beta.
        spatial_stride: pixels of the clip per cell of the feature map, along each side.
        temporal_pool: how features are pooled over time; as the weights say, else avg, if None.
        lateral_norm: BatchNorm and ReLU behind the lateral connections.
        res5_dilation: dilation of the last stage, 1 or 2.
        relation_channels: channels of the relation; those of the backbone if None.
        dropout: probability of dropping an entry before the classifier; as the weights say, else 0.5, if None.
        weights: a whole detector to start from: a record's name, such as AVA22_V1 or mini, or the path of a checkpoint.
            Where its classes are others, the rows of classes of the same name are kept, the others start anew.
        weights_backbone: what the backbone starts from: a record's name, such as KINETICS400_MMACTION2_V0, or a path.
        frozen_stages: how much of the backbone does not learn: 1 is the stem, 2 the stem and res2, to 5, all of it.
        sync_batch_norm: share the batch statistics among the processes.
        compile: let torch.compile make the model faster.
        channels_last: keep clips and features in memory with the channels last.
        checkpoint_relation: compute the relation a second time in the backward pass, which saves memory.
    """

    relation: Relation = "acrn"
    depth: int = 50
    alpha: int = 4
    beta: int = 8
    width: int = 64
    spatial_stride: int = 16
    temporal_pool: TemporalPool | None = None
    lateral_norm: bool = False
    res5_dilation: int = 1
    relation_channels: int | None = None
    dropout: float | None = None
    weights: str | None = None
    weights_backbone: str | None = None
    frozen_stages: int = 0
    sync_batch_norm: bool = False
    compile: bool = False
    channels_last: bool = False
    checkpoint_relation: bool = False

    def __post_init__(self) -> None:
        settle(self)
        require(self, "a whole number from 0 to 5", lambda value: 0 <= value <= 5, "frozen_stages")
        if self.weights is not None and self.weights_backbone is not None:
            raise ConfigError("--weights bring their own backbone: say --weights-backbone None")
        self.architecture(num_classes=1)

    def architecture(self, num_classes: int) -> SlowFastArchitecture:
        """How to build the model where no weights say otherwise.

        Raises:
            ConfigError: if a value is none that a model can be built with.
        """
        named = {name: getattr(self, name) for name in OF_DETECTOR}
        dropout = 0.5 if self.dropout is None else self.dropout
        try:
            return SlowFastArchitecture(
                **named, num_classes=num_classes, temporal_pool=self.temporal_pool or "avg", dropout=dropout
            )
        except ArchitectureError as error:
            raise ConfigError(f"model: {error}") from error


@dataclass(frozen=True)
class DataConfig:
    """What it is trained and evaluated on.

    Args:
        data: the dataset folder, with its dataset.json.
        train_split: the part of it to train on.
        val_split: the part of it to evaluate on.
        clip_length: frames of a clip.
        frame_interval: seconds from one frame of a clip to the next.
        short_side: in training the shorter side of the frames is resized to a random number of pixels in this range.
        crop: height and width of the clips in training, in pixels.
        flip: how likely it is that a clip is mirrored in training.
        jitter: seconds by which every other frame, at random, is taken earlier in training.
        min_score: proposals below this score of the person detector are left out.
        with_unmatched: train with proposals that match nobody, too: they enter the batch statistics, not the loss.
        people: who is classified in evaluation: those whom a detector found, or those who are annotated.
        eval_short_side: shorter side of the frames in evaluation, in pixels.
        eval_flips: average the scores with those of the mirrored clip.
        eval_scales: average the scores over these shorter sides, in place of the one above.
        num_workers: of every process, to read clips; 0 reads them in the process itself.
        decoder: what decodes the videos.
    """

    data: Path | None = None
    train_split: str = "train"
    val_split: str = "val"
    clip_length: int = 32
    frame_interval: float = 2 / 30
    short_side: tuple[int, int] = (256, 320)
    crop: int = 256
    flip: float = 0.5
    jitter: float = 1 / 30
    min_score: float = 0.9
    with_unmatched: bool = False
    people: Literal["proposals", "annotated"] = "proposals"
    eval_short_side: int = 256
    eval_flips: bool = False
    eval_scales: tuple[int, ...] = ()
    num_workers: int = 4
    decoder: Literal["pyav", "torchcodec"] = "pyav"

    def __post_init__(self) -> None:
        settle(self)
        at_least(self, MIN_CLIP_LENGTH, "clip_length")
        at_least(self, 1, "crop", "eval_short_side")
        at_least(self, 0, "num_workers")
        require(self, "seconds above 0", lambda value: value > 0, "frame_interval")
        require(self, "a number of 0 to 1", lambda value: 0 <= value <= 1, "flip", "min_score")
        require(
            self,
            f"seconds from 0 to {flag_of('frame_interval')}, which is {self.frame_interval:g}",
            lambda value: 0 <= value <= self.frame_interval,
            "jitter",
        )
        require(
            self,
            f"two whole numbers, the second not below the first, and the first not below --crop {self.crop}",
            lambda value: self.crop <= value[0] <= value[1],
            "short_side",
        )
        require(self, "whole numbers of at least 1", lambda value: all(side >= 1 for side in value), "eval_scales")


@dataclass(frozen=True)
class OptimizationConfig:
    """How it is trained.

    Args:
        epochs: how often the training clips are gone through.
        clips_per_process: clips that a process (a GPU) holds at once.
        accumulation_steps: so many times that many clips make one step of the optimizer.
        learning_rate_per_clip: the highest learning rate, divided by the clips of a step (linear scaling rule).
        learning_rate: the highest learning rate itself; if given, it is not scaled.
        optimizer: stochastic gradient descent with momentum, as published, or AdamW, which wants a learning rate some
            fifty times lower: give --learning-rate, too.
        momentum: of the optimizer; AdamW's average of gradients.
        weight_decay: of all parameters.
        clip_gradient: the gradient is shortened to this norm where it is longer; not at all if None.
        warmup_epochs: during which the learning rate rises.
        warmup_start: what it starts from, as a fraction of the highest.
        schedule: how the learning rate falls: along a cosine behind the warm-up, or along one from the first step on,
            which the warm-up multiplies.
        precision: of the computation; the parameters are float32.
        ema_decay: keep a moving average of the parameters with this decay, which is what is evaluated; none if None.
        focal_alpha: factor of the loss.
        focal_gamma: power of the focal loss; 0 is binary cross-entropy.
        seed: of everything that is random.
    """

    epochs: int = 10
    clips_per_process: int = 8
    accumulation_steps: int = 1
    learning_rate_per_clip: float = 0.0015625
    learning_rate: float | None = None
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-5
    clip_gradient: float | None = 40.0
    warmup_epochs: float = 2.0
    warmup_start: float = 0.1
    schedule: Schedule = "warmup_then_cosine"
    precision: Precision = "float32"
    ema_decay: float | None = None
    focal_alpha: float = 1.0
    focal_gamma: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self)
        at_least(self, 1, "epochs", "clips_per_process", "accumulation_steps")
        at_least(self, 0, "seed")
        above = ("learning_rate_per_clip", "learning_rate", "clip_gradient", "focal_alpha")
        require(self, "a number above 0", lambda value: value > 0, *above)
        require(self, "0 or more", lambda value: value >= 0, "weight_decay", "focal_gamma")
        require(self, "0 or more and less than 1", lambda value: 0 <= value < 1, "momentum")
        require(self, "a number between 0 and 1", lambda value: 0 < value < 1, "ema_decay")
        require(self, "above 0 and at most 1", lambda value: 0 < value <= 1, "warmup_start")
        require(
            self,
            f"0 or more and less than --epochs, which is {self.epochs}",
            lambda value: 0 <= value < self.epochs,
            "warmup_epochs",
        )


@dataclass(frozen=True)
class RunConfig:
    """Where and how a run goes on. Nothing here changes what is learnt.

    Args:
        out: folder of the run: checkpoints, log and weights. A run that is there already goes on.
        validate_every: epochs from one evaluation to the next; 0 for none.
        save_every: steps from one checkpoint to the next; one is also saved at the end of every epoch.
        keep_last: so many checkpoints are kept.
        device: auto, cpu or cuda; auto takes a GPU if there is one.
        tensorboard: write curves for TensorBoard, too.
    """

    out: Path
    validate_every: int = 1
    save_every: int = 500
    keep_last: int = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    tensorboard: bool = True

    def __post_init__(self) -> None:
        settle(self)
        at_least(self, 0, "validate_every")
        at_least(self, 1, "save_every", "keep_last")
