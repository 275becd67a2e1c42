"""Actor features: what the feature map holds inside each actor's box."""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from acrn_zoo.ops import separable_roi_align


class RoIPooling(nn.Module):
    """Cut an ``output_size x output_size`` window of features out of the map for each RoI (RoIAlign).

    As published for SlowFast-ACRN: 8x8 bins, pixel centres at half integers (``aligned=True``), as many samples a
    bin as it covers cells (``sampling_ratio=0``). The scale is the backbone's stride even where the map's size
    was rounded up. Boxes may reach over the border and may be smaller than a pixel. Where gradients are computed on a
    CPU it is :func:`~acrn_zoo.ops.separable_roi_align` that cuts, elsewhere TorchVision; they differ by rounding alone.

    Args:
        spatial_scale: cells of the map per pixel of the clip, 1/16 for SlowFast.
        output_size: bins along each side.
    """

    def __init__(self, spatial_scale: float = 1 / 16, output_size: int = 8) -> None:
        super().__init__()
        self.spatial_scale = spatial_scale
        self.output_size = output_size

    def forward(self, scene: Tensor, rois: Tensor) -> Tensor:
        """Return actor features ``[R, C, p, p]`` in the dtype of ``scene``.

        Args:
            scene: ``[N, C, h, w]``.
            rois: ``[R, 5]`` rows ``(clip_index, x1, y1, x2, y2)``, xyxy in clip pixels.
        """
        # Half precision cannot place a box: 11 bits of mantissa are half a pixel off at x = 1000.
        dtype = torch.promote_types(scene.dtype, torch.float32)
        if scene.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            with torch.autocast("cpu", enabled=False):
                features = separable_roi_align(scene.to(dtype), rois.to(dtype), self.output_size, self.spatial_scale)
            return features.to(scene.dtype)
        features = roi_align(
            scene.to(dtype),
            rois.to(dtype),
            output_size=(self.output_size, self.output_size),
            spatial_scale=self.spatial_scale,
            sampling_ratio=0,
            aligned=True,
        )
        return features.to(scene.dtype)
