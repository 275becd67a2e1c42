"""Relation heads: what an actor's features become when they are set against its scene."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import Conv3dNormActivation

from acrn_zoo.ops import relation


class RelationHead(nn.Module):
    """The contract: ``forward(actors [R, C, p, p], scene [N, C, h, w], clip_index [R]) -> [R, D]``.

    No actors give an empty result, the order of the actors does not matter to any one of them, and a clip's actors
    never see another clip's scene.

    Attributes:
        out_features: D.
    """

    out_features: int


class ActorCentricRelation(RelationHead):
    """ACRN: every actor is paired with every place of the scene (Sun et al., ECCV 2018, section 3.2).

    Args:
        in_channels: C, channels of the actor's and of the scene's features.
        out_features: D, channels of the relation; as many as ``in_channels`` in the published model.
        dropout: probability with which an entry of the relation map is dropped in training, before the maximum.
    """

    def __init__(self, in_channels: int, out_features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_features = out_features
        self.dropout = dropout
        self.pair = _conv_norm_relu(2 * in_channels, out_features, kernel_size=(1, 1, 1))
        self.context = _conv_norm_relu(out_features, out_features, kernel_size=(1, 3, 3))

    def forward(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        """Return relation features ``[R, D]``."""
        features, _ = relation(
            actors.amax(dim=(-2, -1)),
            scene,
            clip_index,
            self.pair,
            self.context,
            dropout=self.dropout if self.training else 0.0,
        )
        return features

    def relation_map(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        """Return the map ``[R, D, h, w]`` whose maximum over all places is :meth:`forward` (in evaluation mode)."""
        _, related = relation(actors.amax(dim=(-2, -1)), scene, clip_index, self.pair, self.context, with_map=True)
        assert related is not None
        return related


class ActorOnly(RelationHead):
    """No relation: the actor's own features, the baseline that SlowFast detectors use (RoI head).

    Args:
        in_channels: C, channels of the actor's features; also ``out_features``.
        dropout: probability with which an entry of the actor's window is dropped in training, before the maximum.
    """

    def __init__(self, in_channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_features = in_channels
        self.dropout = dropout

    def forward(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:  # noqa: ARG002
        """Return the maximum over the actor's window, ``[R, C]``; the scene is not looked at."""
        return F.dropout(actors, p=self.dropout, training=self.training).amax(dim=(-2, -1))


def _conv_norm_relu(in_channels: int, out_channels: int, kernel_size: tuple[int, int, int]) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU; initialised as published (Kaiming normal, fan out)."""
    layers = Conv3dNormActivation(in_channels, out_channels, kernel_size=kernel_size, inplace=True)
    nn.init.kaiming_normal_(layers[0].weight, mode="fan_out", nonlinearity="relu")
    return layers
