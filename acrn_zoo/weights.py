"""The published weights: where each file is, how to check it, what it scores and how its model must be built.

Records are TorchVision's: an enum class a model, a member a file, ``DEFAULT`` the one to take if in doubt.
In every ``meta``:

- ``num_params``: parameters of the model that the record builds (of the backbone alone for initial weights).
- ``sha256_prefix``: how the file's SHA-256 begins, as its publisher states it (all of it for a file that comes with
  the package); None if no hash is published.
- ``categories``: names of the classes in the order of the columns; empty for initial weights, whose own
  classifier is not used.
- ``metrics``: ``{dataset: {name: value}}`` as published; only those of the small world were measured here.
- ``recipe``: the page that says how the weights were trained, or the name of a recipe of this project.
- ``license``: of the publisher's code and files; ``data_terms``: of what they were trained on.
- ``clip_length``, ``frame_interval``: number of frames of a clip, and seconds from one to the next.
- ``gflops_per_clip``, ``gflops_per_actor``: of the backbone and of the head (None without one), for square clips of
  that length and of the side that ``transforms`` gives: convolutions and linear layers, a multiply-add counted as one,
  as in TorchVision's ``_ops``.
- ``file_size_mb``: size of the file in 10^6 bytes, about.
- ``temporal_pool``, ``lateral_norm``, ``res5_dilation``: how the backbone must be built for these weights;
  ``temporal_pool`` is None where the weights leave it open.
- ``min_size``: smallest height and width of a clip that fill one cell of the feature map.
- ``_docs``: what one should know about the file.

Weights that were trained here say, in addition, how to train them again: ``data_command`` and ``data_sha256`` (of the
file ``train.csv`` that it writes, followed by ``val.csv``), ``command`` and ``seed``.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from torchvision.models._api import Weights, WeightsEnum

from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.errors import UserError

CHECKPOINT_ENDINGS = (".pth", ".pt", ".pyth", ".pkl", ".ckpt", ".safetensors")
"""A text that ends like this is taken for a file, not for the name of a record."""

_TRANSFORMS = partial(ClipTransform, short_side=256)
_PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo"

_COMMON: dict[str, Any] = {
    "license": "Apache-2.0",
    "gflops_per_clip": 96.888,
    "lateral_norm": False,
    "res5_dilation": 1,
    "min_size": (16, 16),
    "clip_length": 32,
    "frame_interval": 2 / 30,
}
_AVA_TERMS = "AVA annotations: CC BY 4.0 (Google); the films belong to their owners"
_KINETICS_TERMS = "Kinetics annotations: CC BY 4.0 (Google); the videos belong to their owners"
_ACRN: dict[str, Any] = {
    **_COMMON,
    "num_params": 92_229_752,
    "categories": CATEGORIES,
    "gflops_per_actor": 14.949,
    "file_size_mb": 369.3,
    "data_terms": _AVA_TERMS,
}
_ROI: dict[str, Any] = {
    **_COMMON,
    "num_params": 33_827_960,
    "categories": CATEGORIES,
    "gflops_per_actor": 0.000184,
    "file_size_mb": 135.7,
    "data_terms": _AVA_TERMS,
}
_BACKBONE: dict[str, Any] = {
    **_COMMON,
    "num_params": 33_643_560,
    "categories": (),
    "gflops_per_actor": None,
    "file_size_mb": 138.6,
    "data_terms": _KINETICS_TERMS,
}
_PYTORCHVIDEO_BACKBONE: dict[str, Any] = {
    **_BACKBONE,
    "num_params": 33_644_488,  # the lateral connections' BatchNorms come on top
    "lateral_norm": True,
    "sha256_prefix": None,
    "recipe": "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md",
}
_INFERRED_POOLING = "Average pooling over time is inferred from the configs of that date, not stated by the file."


class WeightsError(UserError, ValueError):
    """These weights do not exist, or are not for this model."""


class PublishedWeights(WeightsEnum):
    """TorchVision's enum, without its way of reading the file."""

    def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> NoReturn:  # noqa: ARG002
        """Refuse: TorchVision's method runs what code a file holds, and the layout is another.

        Raises:
            WeightsError: always; it says what to do instead.
        """
        raise WeightsError(
            f"{self!r} is a file in its publisher's layout, which fits no model as it is: pass the record as "
            "weights= to one of acrn_zoo.zoo's builders, which fetches, checks and converts it."
        )


def _mmaction2_file(folder: str, recipe: str, ending: str) -> str:
    """Address of the file that ``recipe`` made; ``ending`` holds the hash."""
    return f"https://download.openmmlab.com/mmaction/{folder}/{recipe}/{recipe}{ending}.pth"


def _mmaction2_recipe(folder: str, recipe: str) -> str:
    branch, kind = folder.split("/", 1)
    return f"https://github.com/open-mmlab/mmaction2/blob/{branch}/configs/{kind}/{recipe}.py"


class SlowFast_R50_ACRN_Weights(PublishedWeights):  # noqa: N801 - TorchVision's way to name them
    """SlowFast R50 8x8 with the actor-centric relation head, trained on AVA by MMAction2."""

    AVA21_V0 = Weights(
        url=_mmaction2_file(
            "detection/acrn", "slowfast_acrn_kinetics_pretrained_r50_8x8x1_cosine_10e_ava_rgb", "-49b07bf2"
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ACRN,
            "sha256_prefix": "49b07bf2",
            "metrics": {"AVA v2.1": {"mAP": 27.1}},
            "recipe": _mmaction2_recipe(
                "0.x/detection/acrn", "slowfast_acrn_kinetics_pretrained_r50_8x8x1_cosine_10e_ava_rgb"
            ),
            "temporal_pool": "max",
            "_docs": "Trained by MMAction2 0.x, which pools over time with the maximum.",
        },
    )
    AVA21_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/detection/acrn",
            "slowfast-acrn_kinetics400-pretrained-r50_8xb8-8x8x1-cosine-10e_ava21-rgb",
            "_20220906-0dae1a90",
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ACRN,
            "sha256_prefix": "0dae1a90",
            "metrics": {"AVA v2.1": {"mAP": 27.65}},
            "recipe": _mmaction2_recipe(
                "main/detection/acrn",
                "slowfast-acrn_kinetics400-pretrained-r50_8xb8-8x8x1-cosine-10e_ava21-rgb",
            ),
            "temporal_pool": "avg",
            "_docs": f"Trained by MMAction2 1.x. {_INFERRED_POOLING}",
        },
    )
    AVA22_V0 = Weights(
        url=_mmaction2_file(
            "detection/acrn", "slowfast_acrn_kinetics_pretrained_r50_8x8x1_cosine_10e_ava22_rgb", "-2be32625"
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ACRN,
            "sha256_prefix": "2be32625",
            "metrics": {"AVA v2.2": {"mAP": 27.8}},
            "recipe": _mmaction2_recipe(
                "0.x/detection/acrn", "slowfast_acrn_kinetics_pretrained_r50_8x8x1_cosine_10e_ava22_rgb"
            ),
            "temporal_pool": "max",
            "_docs": "Trained by MMAction2 0.x, which pools over time with the maximum.",
        },
    )
    AVA22_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/detection/acrn",
            "slowfast-acrn_kinetics400-pretrained-r50_8xb8-8x8x1-cosine-10e_ava22-rgb",
            "_20220906-66ec24a2",
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ACRN,
            "sha256_prefix": "66ec24a2",
            "metrics": {"AVA v2.2": {"mAP": 27.71}},
            "recipe": _mmaction2_recipe(
                "main/detection/acrn",
                "slowfast-acrn_kinetics400-pretrained-r50_8xb8-8x8x1-cosine-10e_ava22-rgb",
            ),
            "temporal_pool": "avg",
            "_docs": f"Trained by MMAction2 1.x. {_INFERRED_POOLING}",
        },
    )
    DEFAULT = AVA22_V1


class SlowFast_R50_RoI_Weights(PublishedWeights):  # noqa: N801 - TorchVision's way to name them
    """SlowFast R50 8x8 without relations, the baseline of the same zoo, trained on AVA by MMAction2 1.x."""

    AVA21_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/detection/slowfast",
            "slowfast_kinetics400-pretrained-r50_8xb8-8x8x1-20e_ava21-rgb",
            "_20220906-39133ec7",
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ROI,
            "sha256_prefix": "39133ec7",
            "metrics": {"AVA v2.1": {"mAP": 25.8}},
            "recipe": _mmaction2_recipe(
                "main/detection/slowfast", "slowfast_kinetics400-pretrained-r50_8xb8-8x8x1-20e_ava21-rgb"
            ),
            "temporal_pool": "avg",
            "_docs": "Average pooling over time; 20 epochs.",
        },
    )
    AVA22_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/detection/slowfast",
            "slowfast_kinetics400-pretrained-r50_8xb6-8x8x1-cosine-10e_ava22-rgb",
            "_20220906-d934a48f",
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ROI,
            "sha256_prefix": "d934a48f",
            "metrics": {"AVA v2.2": {"mAP": 25.9}},
            "recipe": _mmaction2_recipe(
                "main/detection/slowfast",
                "slowfast_kinetics400-pretrained-r50_8xb6-8x8x1-cosine-10e_ava22-rgb",
            ),
            "temporal_pool": "avg",
            "_docs": "Average pooling over time; 10 epochs, the recipe nearest to ACRN's.",
        },
    )
    AVA22_MAX_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/detection/slowfast",
            "slowfast_kinetics400-pretrained-r50-temporal-max_8xb6-8x8x1-cosine-10e_ava22-rgb",
            "_20220906-13a9078e",
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ROI,
            "sha256_prefix": "13a9078e",
            "metrics": {"AVA v2.2": {"mAP": 26.41}},
            "recipe": _mmaction2_recipe(
                "main/detection/slowfast",
                "slowfast_kinetics400-pretrained-r50-temporal-max_8xb6-8x8x1-cosine-10e_ava22-rgb",
            ),
            "temporal_pool": "max",
            "_docs": "Maximum over time; otherwise as AVA22_V1.",
        },
    )
    AVA22_MAX_FOCAL_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/detection/slowfast",
            "slowfast_r50-k400-pre-temporal-max-focal-alpha3-gamma1_8xb6-8x8x1-cosine-10e_ava22-rgb",
            "_20220906-dd59e26f",
        ),
        transforms=_TRANSFORMS,
        meta={
            **_ROI,
            "sha256_prefix": "dd59e26f",
            "metrics": {"AVA v2.2": {"mAP": 26.65}},
            "recipe": _mmaction2_recipe(
                "main/detection/slowfast",
                "slowfast_r50-k400-pre-temporal-max-focal-alpha3-gamma1_8xb6-8x8x1-cosine-10e_ava22-rgb",
            ),
            "temporal_pool": "max",
            "_docs": "Maximum over time, focal loss (alpha 3, gamma 1); otherwise as AVA22_V1.",
        },
    )
    DEFAULT = AVA22_V1  # trained most nearly as ACRN's default, so the two compare


class SlowFast_R50_Weights(PublishedWeights):  # noqa: N801 - TorchVision's way to name them
    """Initial weights for the SlowFast R50 8x8 backbone: what to start training from."""

    KINETICS400_MMACTION2_V0 = Weights(
        url=_mmaction2_file("recognition/slowfast", "slowfast_r50_8x8x1_256e_kinetics400_rgb", "_20200716-73547d2b"),
        transforms=_TRANSFORMS,
        meta={
            **_BACKBONE,
            "sha256_prefix": "73547d2b",
            "metrics": {"Kinetics-400": {"acc@1": 76.94, "acc@5": 92.8}},
            "recipe": _mmaction2_recipe("0.x/recognition/slowfast", "slowfast_r50_8x8x1_256e_kinetics400_rgb"),
            "temporal_pool": None,
            "_docs": "What both generations of MMAction2's ACRN and its baselines were started from.",
        },
    )
    KINETICS400_MMACTION2_V1 = Weights(
        url=_mmaction2_file(
            "v1.0/recognition/slowfast", "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb", "_20220818-1cb6dfc8"
        ),
        transforms=_TRANSFORMS,
        meta={
            **_BACKBONE,
            "sha256_prefix": "1cb6dfc8",
            "metrics": {"Kinetics-400": {"acc@1": 76.8}},
            "recipe": _mmaction2_recipe("main/recognition/slowfast", "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb"),
            "temporal_pool": None,
            "_docs": "Trained by MMAction2 1.x.",
        },
    )
    KINETICS400_PYTORCHVIDEO = Weights(
        url=f"{_PYTORCHVIDEO}/kinetics/SLOWFAST_8x8_R50.pyth",
        transforms=_TRANSFORMS,
        meta={
            **_PYTORCHVIDEO_BACKBONE,
            "metrics": {"Kinetics-400": {"acc@1": 76.94, "acc@5": 92.69}},
            "temporal_pool": None,
            "file_size_mb": 276.5,
            "_docs": "PyTorchVideo's slowfast_r50, with BatchNorm and ReLU on the lateral connections.",
        },
    )
    AVA22_PYTORCHVIDEO = Weights(
        url=f"{_PYTORCHVIDEO}/ava/SLOWFAST_8x8_R50_DETECTION.pyth",
        transforms=_TRANSFORMS,
        meta={
            **_PYTORCHVIDEO_BACKBONE,
            "metrics": {"AVA v2.2": {"mAP": 24.67}},
            "temporal_pool": "avg",
            "res5_dilation": 2,
            "file_size_mb": 270.6,
            "data_terms": _AVA_TERMS,
            "_docs": "The backbone of PyTorchVideo's slowfast_r50_detection; the mAP is that of the "
            "whole detector, whose head has another RoIAlign and is not used.",
        },
    )
    DEFAULT = KINETICS400_MMACTION2_V0  # the published recipes' choice


class SlowFast_ACRN_Mini_Weights(PublishedWeights):  # noqa: N801 - TorchVision's way to name them
    """A small SlowFast with the actor-centric relation head, trained here on the small world; part of the package."""

    SMALL_WORLD_V1 = Weights(
        url=(Path(__file__).resolve().parent / "pretrained" / "slowfast_acrn_mini.pth").as_uri(),
        transforms=partial(ClipTransform, short_side=64),
        meta={
            "num_params": 504_163,
            "sha256_prefix": "db2dc409bc80d594335d73cc9f1cc6defeeb0b93984740d201c7ece823ebe4d5",
            # as in acrn_zoo.data.synthetic.world, which would bring the reading of videos with it
            "categories": ("stand", "walk", "wave", "play with a ball", "guard a box", "greet", "accompany"),
            "metrics": {"small world": {"mAP": 98.82, "mAP/motion": 100.0, "mAP/object": 99.64, "mAP/partner": 96.25}},
            "recipe": "small_world",
            "data_command": "acrn-zoo data small-world small_world",
            "data_sha256": "971a8d9491659d69c4e248c652037c86c06d528e3a54dc4b89b27cc6d5c39ec9",
            "command": "OMP_NUM_THREADS=1 acrn-zoo train small_world --data small_world --out mini",
            "versions": "commit e14104f, Python 3.11.7, PyTorch 2.14.1, NumPy 2.4.6, AMD EPYC",  # others round
            "seed": 0,
            "license": "Apache-2.0",
            "data_terms": "generated by this package",
            "gflops_per_clip": 0.0761,
            "gflops_per_actor": 0.0157,
            "file_size_mb": 2.1,
            "clip_length": 8,
            "frame_interval": 0.1,
            "temporal_pool": "avg",
            "lateral_norm": False,
            "res5_dilation": 1,
            "min_size": (8, 8),
            "_docs": "A toy: it knows seven actions of generated figures, and was trained on 2 CPU cores.",
        },
    )
    DEFAULT = SMALL_WORLD_V1


DETECTORS: tuple[type[WeightsEnum], ...] = (
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_ACRN_Mini_Weights,
)
"""Published weights of whole detectors."""

SHORT_NAMES: Mapping[str, WeightsEnum] = {
    "ava22": SlowFast_R50_ACRN_Weights.AVA22_V1,
    "ava21": SlowFast_R50_ACRN_Weights.AVA21_V1,
    "mini": SlowFast_ACRN_Mini_Weights.SMALL_WORLD_V1,
}
"""What the command line calls those that are asked for most."""

Record = TypeVar("Record", bound=WeightsEnum)


def resolve_detector(weights: str) -> WeightsEnum | Path:
    """Find out which weights of a whole detector the user means, of whichever model.

    Args:
        weights: one of :data:`SHORT_NAMES`; a record's name, with its enum or without (``"AVA22_V1"``, of several the
            first in :data:`DETECTORS`); or the path of a checkpoint file, see :func:`resolve_weights`.

    Raises:
        WeightsError: if it is none of these.
    """
    if weights in SHORT_NAMES:
        return SHORT_NAMES[weights]
    prefix = weights.partition(".")[0]
    fitting = [records for records in DETECTORS if prefix == records.__name__ or weights in records.__members__]
    try:
        chosen = resolve_weights(fitting[0] if fitting else DETECTORS[0], weights)
    except WeightsError as error:
        raise WeightsError(f"{error} Short names are {', '.join(SHORT_NAMES)}.") from None
    assert chosen is not None
    return chosen


def resolve_weights(enum_class: type[Record], weights: Record | str | os.PathLike[str] | None) -> Record | Path | None:
    """Find out what the user means by ``weights``.

    Args:
        enum_class: the model's enum of published weights.
        weights: a record of it, a record's name (``"AVA22_V1"``, ``"SlowFast_R50_ACRN_Weights.AVA22_V1"``,
            ``"DEFAULT"``), the path of a checkpoint file, or None. A text is a path if such a file exists, if
            it has a folder in it, or if it ends like a checkpoint (``CHECKPOINT_ENDINGS``).

    Returns:
        The record, the path (whether there is such a file is not checked here), or None.

    Raises:
        WeightsError: if it is none of these.
    """
    if weights is None or isinstance(weights, enum_class):
        return weights
    if isinstance(weights, str):
        name = weights.removeprefix(f"{enum_class.__name__}.")
        if name in enum_class.__members__:
            return enum_class[name]
        if _is_path(weights):
            return Path(weights).expanduser()
    elif isinstance(weights, os.PathLike):
        return Path(weights)
    names = ", ".join(enum_class.__members__)
    raise WeightsError(
        f"weights={weights!r} are not known: expected one of {enum_class.__name__} ({names}), the path of a "
        "checkpoint file, or None."
    )


def _is_path(text: str) -> bool:
    if "://" in text:
        return False
    has_folder = "/" in text or os.sep in text
    return has_folder or text.lower().endswith(CHECKPOINT_ENDINGS) or Path(text).is_file()
