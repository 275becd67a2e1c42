"""Backbones: clips in, one feature map a clip out."""

import warnings
from typing import Literal, get_args

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # its own, at import; nothing the user can mend
    from pytorchvideo.models.slowfast import FastToSlowFusionBuilder, create_slowfast

TemporalPool = Literal["avg", "max"]
MIN_CLIP_LENGTH = 8
DEPTHS = (18, 50, 101, 152)
STAGE_STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}
"""Strides of the four stages by the stride of the whole; the stem has a stride of 4."""


def pool_time(features: Tensor, how: TemporalPool) -> Tensor:
    """Average or maximum over time: ``[N, C, T, h, w] -> [N, C, h, w]``."""
    return features.mean(dim=2) if how == "avg" else features.amax(dim=2)


class Backbone(nn.Module):
    """The contract of a backbone: ``forward(clips [N, 3, T, H, W]) -> scene features [N, C, h, w]``.

    Attributes:
        out_channels: C.
        spatial_stride: pixels of the clip per cell of the map.
        clip_length: frames T of a clip, as trained.
    """

    out_channels: int
    spatial_stride: int
    clip_length: int


class TimePooled(Backbone):
    """Any network that returns ``[N, C, T, h, w]``, made a backbone by pooling its time axis.

    Args:
        network: ``clips [N, 3, T, H, W] -> [N, C, T', h, w]``.
        out_channels: C.
        spatial_stride: pixels of the clip per cell of the map.
        clip_length: frames of a clip, as the network was trained.
        temporal_pool: ``"avg"`` or ``"max"``.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        out_channels: int,
        spatial_stride: int,
        clip_length: int,
        temporal_pool: TemporalPool = "avg",
    ) -> None:
        super().__init__()
        self.network = network
        self.out_channels = out_channels
        self.spatial_stride = spatial_stride
        self.clip_length = clip_length
        self.temporal_pool = _checked_pool(temporal_pool)

    def forward(self, clips: Tensor) -> Tensor:
        """Return features ``[N, C, h, w]``."""
        return pool_time(self.network(clips), self.temporal_pool)


class SlowFast(Backbone):
    """SlowFast (Feichtenhofer et al., ICCV 2019) as a detection backbone.

    The slow pathway sees every ``alpha``-th frame (0, 4, 8, ... for alpha 4), the fast pathway all of them. Each
    pathway is pooled over time, then both are joined, slow channels first.

    Args:
        blocks: stem and four stages, each with its lateral connection, as PyTorchVideo builds them:
            ``[slow, fast] -> [slow, fast]``.
        alpha: ratio of the frame rates of the two pathways.
        out_channels: C, slow and fast together.
        spatial_stride: pixels of the clip per cell of the map.
        clip_length: frames of a clip, as trained. Other lengths of at least 8 frames work too.
        temporal_pool: ``"avg"`` or ``"max"``; it belongs to the weights.

    Attributes:
        num_frozen: so many blocks do not learn; set by :func:`acrn_zoo.models.freeze_stages`.
    """

    def __init__(
        self,
        blocks: nn.ModuleList,
        *,
        alpha: int,
        out_channels: int,
        spatial_stride: int = 16,
        clip_length: int = 32,
        temporal_pool: TemporalPool = "avg",
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.alpha = alpha
        self.out_channels = out_channels
        self.spatial_stride = spatial_stride
        self.clip_length = clip_length
        self.temporal_pool = _checked_pool(temporal_pool)
        self.num_frozen = 0

    def train(self, mode: bool = True) -> "SlowFast":
        """Switch to training or evaluation mode; frozen blocks stay in evaluation mode."""
        super().train(mode)
        self.blocks[: self.num_frozen].eval()
        return self

    def forward(self, clips: Tensor) -> Tensor:
        """Return scene features ``[N, C, ceil(H / stride), ceil(W / stride)]`` of ``clips [N, 3, T, H, W]``."""
        if clips.shape[2] < MIN_CLIP_LENGTH or 0 in clips.shape[3:]:
            raise ValueError(
                f"clips has shape {list(clips.shape)}: SlowFast needs at least {MIN_CLIP_LENGTH} frames of at least "
                "one pixel ([N, 3, T, H, W])"
            )
        # A fresh list each time: PyTorchVideo's blocks write their results into the list they are given.
        pathways = [clips[:, :, :: self.alpha], clips]
        for block in self.blocks:
            pathways = block(list(pathways))
        return torch.cat([pool_time(pathway, self.temporal_pool) for pathway in pathways], dim=1)


def create_slowfast_backbone(
    *,
    depth: int = 50,
    alpha: int = 4,
    temporal_pool: TemporalPool = "avg",
    lateral_norm: bool = False,
    res5_dilation: int = 1,
    beta: int = 8,
    width: int = 64,
    spatial_stride: int = 16,
) -> SlowFast:
    """Build the SlowFast trunk from PyTorchVideo's ``create_slowfast`` (random weights).

    The defaults are the published ACRN's R50 8x8: bare lateral convolutions, the last stage with stride 1 and not
    dilated.

    Args:
        depth: layers of the residual network, 50 or 101 (18 and 152 build too).
        alpha: ratio of the pathways' frame rates: 4 for 8x8, 8 for 4x16 (of 32 frames).
        temporal_pool: ``"avg"`` or ``"max"``.
        lateral_norm: BatchNorm and ReLU behind the lateral convolutions, as in PyTorchVideo's own SlowFast.
        res5_dilation: dilation of the last stage: 1, or 2 as in PyTorchVideo's detection models.
        beta: ratio of the pathways' channels.
        width: channels of the slow stem, a multiple of ``beta``.
        spatial_stride: pixels of the clip per cell of the map: 16, or 8, where the third stage has stride 1.

    Raises:
        ValueError: if a value is not one of these.
    """
    if beta < 1 or width < 1 or width % beta:
        raise ValueError(f"width is {width}, expected a multiple of beta, which is {beta} and has to be at least 1")
    if depth not in DEPTHS:
        raise ValueError(f"depth is {depth}, expected 18, 50, 101 or 152")
    if not isinstance(alpha, int) or alpha < 1 or res5_dilation not in (1, 2):
        raise ValueError(f"alpha is {alpha} and res5_dilation {res5_dilation}, expected a whole number and 1 or 2")
    if spatial_stride not in STAGE_STRIDES:
        raise ValueError(f"spatial_stride is {spatial_stride}, expected 8 or 16")
    fusion = FastToSlowFusionBuilder(
        slowfast_channel_reduction_ratio=beta,
        conv_fusion_channel_ratio=2,
        # 7 frames at alpha 4 and 5 at alpha 8, as the published 8x8 and 4x16 models have it
        conv_kernel_size=(7 if alpha <= 4 else 5, 1, 1),
        conv_stride=(alpha, 1, 1),
        norm=nn.BatchNorm3d if lateral_norm else None,
        activation=nn.ReLU if lateral_norm else None,
        max_stage_idx=3,
    )
    dilations = ((1, 1, 1),) * 3 + ((1, res5_dilation, res5_dilation),)
    network = create_slowfast(
        model_depth=depth,
        stem_dim_outs=(width, width // beta),
        fusion_builder=fusion.create_module,
        slowfast_channel_reduction_ratio=(beta,),
        stage_spatial_strides=(STAGE_STRIDES[spatial_stride],) * 2,
        stage_conv_b_dilations=(dilations, dilations),
        head=None,
    )
    blocks = network.blocks[:5]  # the sixth would pool with a fixed clip length
    _make_strides_plain(blocks)
    slow_channels = width * 32
    return SlowFast(
        blocks,
        alpha=alpha,
        out_channels=slow_channels + slow_channels // beta,
        spatial_stride=spatial_stride,
        temporal_pool=temporal_pool,
    )


def _make_strides_plain(blocks: nn.ModuleList) -> None:
    """PyTorchVideo computes some strides with NumPy; torch.compile breaks its graph at a ``numpy.int64``."""
    for module in blocks.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(int(step) for step in module.stride)


def _checked_pool(temporal_pool: TemporalPool) -> TemporalPool:
    if temporal_pool not in get_args(TemporalPool):
        raise ValueError(f"temporal_pool is {temporal_pool!r}, expected 'avg' or 'max'")
    return temporal_pool
