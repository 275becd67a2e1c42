"""RoIAlign as two matrix products, for training on a CPU.

TorchVision's backward pass there adds cell after cell on one core, a fifth of a training step of the small world.
A bin is a weighted mean of cells, and its weights are a product of one along y and one along x, so that the windows of
all actors are two batched matrix products, and so are their gradients.
"""

import torch
from torch import Tensor


def separable_roi_align(scene: Tensor, rois: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    """Compute what ``torchvision.ops.roi_align(..., sampling_ratio=0, aligned=True)`` does, but for rounding.

    Keeps a copy of the scene for each RoI, ``[R, C, h, w]``, which is why a GPU is better off without.

    Args:
        scene: ``[N, C, h, w]``, float32 or float64.
        rois: ``[R, 5]`` rows ``(clip_index, x1, y1, x2, y2)``, xyxy in pixels of the clip, of the same type. No
            gradients are computed for them.
        output_size: p, bins along each side.
        spatial_scale: cells of the scene per pixel of the clip.

    Returns:
        ``[R, C, p, p]``.
    """
    height, width = scene.shape[-2:]
    x1, y1, x2, y2 = (rois[:, 1:].detach() * spatial_scale - 0.5).unbind(dim=1)
    rows = _weights(y1, y2 - y1, output_size, height).unsqueeze(1)
    columns = _weights(x1, x2 - x1, output_size, width).unsqueeze(1)
    return rows @ scene.index_select(0, rois[:, 0].long()) @ columns.transpose(-2, -1)


def _weights(start: Tensor, length: Tensor, bins: int, cells: int) -> Tensor:
    """What each cell along one side counts in each bin, ``[R, bins, cells]``.

    A bin has as many samples as it covers cells, rounded up; none where a box has no length. A sample more than one
    cell outside the map is 0, one less far outside is the border's; else it lies between two cells.

    Args:
        start: ``[R]``, where the RoIs begin, in cells, 0 at the centre of the first.
        length: ``[R]``, how far they reach.
        bins: of each.
        cells: of the map.
    """
    samples = (length / bins).ceil().clamp(min=0)[:, None, None]
    most = int(samples.max()) if len(samples) else 0
    sample = torch.arange(most, device=start.device)
    fraction = torch.arange(bins, device=start.device)[:, None] + (sample + 0.5) / samples
    position = start[:, None, None] + fraction * (length / bins)[:, None, None]
    counts = (sample < samples) & (position >= -1) & (position <= cells)
    position = position.clamp(0, cells - 1).unsqueeze(-1)
    share = (1 - (position - torch.arange(cells, device=start.device)).abs()).clamp(min=0)
    return share.where(counts.unsqueeze(-1), 0).sum(dim=2) / samples.clamp(min=1)
