"""The relation operator in plain PyTorch: the definition of truth that every faster implementation must meet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def relation_reference(
    actors: Tensor,
    scene: Tensor,
    clip_index: Tensor,
    pair: nn.Module,
    context: nn.Module,
    *,
    dropout: float = 0.0,
    with_map: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Relate every actor to every place of its scene (Sun et al., ECCV 2018, section 3.2).

    For actor ``a`` and the scene's feature ``s`` at place ``(y, x)``::

        paired(y, x)   = relu(norm(W [a; s(y, x)]))                     pair, 1x1x1
        related(y, x)  = relu(norm(sum over the 3x3 neighbours of V paired))  context, 1x3x3
        relation       = max over all places of related

    Written as published: the actor is tiled over the map, both are concatenated (actor first), and the
    convolutions are three-dimensional with a time axis of length 1.

    Args:
        actors: ``[R, C]``, one vector an actor.
        scene: ``[N, C, h, w]``, the feature map of each clip.
        clip_index: ``[R]`` int64, the clip that each actor belongs to.
        pair: the convolution over the pair, ``[R, 2C, 1, h, w] -> [R, D, 1, h, w]``, with its norm and ReLU.
        context: the convolution over neighbouring places, ``[R, D, 1, h, w] -> [R, D, 1, h, w]``, likewise.
        dropout: probability with which an entry of the map is dropped before the maximum; 0 outside training.
        with_map: also return the map.

    Returns:
        The relation features ``[R, D]``, and the map ``[R, D, h, w]`` whose maximum they are (None unless asked).
    """
    height, width = scene.shape[-2:]
    tiled = actors[:, :, None, None].expand(-1, -1, height, width)
    paired = pair(torch.cat([tiled, scene.index_select(0, clip_index)], dim=1).unsqueeze(2))
    related = F.dropout(context(paired).squeeze(2), p=dropout)
    return related.amax(dim=(-2, -1)), related if with_map else None
