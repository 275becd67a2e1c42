"""The relation operator: one signature, whatever computes it."""

from torch import Tensor, nn

from acrn_zoo.ops.relation_reference import relation_reference


def relation(
    actors: Tensor,
    scene: Tensor,
    clip_index: Tensor,
    pair: nn.Module,
    context: nn.Module,
    *,
    dropout: float = 0.0,
    with_map: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Relate every actor to every place of its scene; see :func:`relation_reference` for the equation.

    Args:
        actors: ``[R, C]``, one vector an actor; R = 0 gives empty results.
        scene: ``[N, C, h, w]``, the feature map of each clip.
        clip_index: ``[R]`` int64, the clip that each actor belongs to.
        pair: the 1x1x1 convolution over [actor; scene] with its norm and ReLU.
        context: the 1x3x3 convolution over neighbouring places with its norm and ReLU.
        dropout: probability with which an entry of the map is dropped before the maximum; 0 outside training.
        with_map: also return the map.

    Returns:
        The relation features ``[R, D]``, and the map ``[R, D, h, w]`` (None unless asked).

    Raises:
        ValueError: if the shapes do not fit together.
    """
    if actors.shape[-1] != scene.shape[1] or len(actors) != len(clip_index):
        raise ValueError(
            f"actors {list(actors.shape)}, scene {list(scene.shape)} and clip_index {list(clip_index.shape)} do not "
            "fit together: expected [R, C], [N, C, h, w] and [R]"
        )
    return relation_reference(actors, scene, clip_index, pair, context, dropout=dropout, with_map=with_map)
