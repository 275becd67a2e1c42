"""Relation heads: what an actor's features become when they are set against its scene."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops.misc import Conv3dNormActivation

from acrn_zoo.ops import relation

Relation: TypeAlias = Literal["acrn", "actor_only", "pooled_scene", "scene_attention"]


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

    Attributes:
        is_checkpointed: whether the backward pass computes the pairs and the map again instead of keeping them
            (``torch.utils.checkpoint``): less memory, more time, the same gradients.
    """

    def __init__(self, in_channels: int, out_features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_features = out_features
        self.dropout = dropout
        self.is_checkpointed = False
        self.pair = _conv_norm_relu(2 * in_channels, out_features, kernel_size=(1, 1, 1))
        self.context = _conv_norm_relu(out_features, out_features, kernel_size=(1, 3, 3))

    def forward(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        """Return relation features ``[R, D]``."""
        vectors = actors.amax(dim=(-2, -1))
        if not self.is_checkpointed:
            return self._related(vectors, scene, clip_index)
        if torch.compiler.is_compiling():  # the compiler updates statistics once, whatever it computes again
            return checkpoint(self._related, vectors, scene, clip_index, use_reentrant=False)
        return checkpoint(self._related, vectors, scene, clip_index, use_reentrant=False, context_fn=self._contexts)

    def forward_with_map(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features ``[R, D]``, without dropout, and the map ``[R, D, h, w]`` whose maximum they are."""
        vectors = actors.amax(dim=(-2, -1))
        features, related = relation(vectors, scene, clip_index, self.pair, self.context, with_map=True)
        assert related is not None
        return features, related

    def _related(self, vectors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return relation(vectors, scene, clip_index, self.pair, self.context, dropout=dropout)[0]

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What surrounds the first computation and the second, which must not update running statistics again."""
        return nullcontext(), _on_copied_buffers(self)


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


class PooledScene(RelationHead):
    """The scene is summarised before the actor meets it: the baseline for pairing with every place.

    As :class:`ActorCentricRelation`, but the maximum over all places is taken of the scene's features (a stronger
    summary than their average) and not of what each place and the actor make together. The same two layers follow,
    on one place, so that the second has no neighbours to look at. Their BatchNorms see R values a channel in
    training.

    Args:
        in_channels: C, channels of the actor's and of the scene's features.
        out_features: D, channels of the result.
        dropout: probability with which an entry of the result is dropped in training.
    """

    def __init__(self, in_channels: int, out_features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_features = out_features
        self.dropout = dropout
        self.pair = _linear_norm_relu(2 * in_channels, out_features)
        self.context = _linear_norm_relu(out_features, out_features)

    def forward(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        """Return features ``[R, D]`` of every actor and the summary of its scene."""
        summary = scene.amax(dim=(-2, -1)).index_select(0, clip_index)
        paired = self.pair(torch.cat([actors.amax(dim=(-2, -1)), summary], dim=1))
        return F.dropout(self.context(paired), p=self.dropout, training=self.training)


class SceneAttention(RelationHead):
    """The actor attends to its scene by a non-local operation (Wang et al., CVPR 2018, embedded Gaussian).

    For actor ``a`` and the scene's feature ``s`` at place ``(y, x)``::

        weight(y, x) = softmax over all places of (query a) . (key s(y, x)) / sqrt(D)
        attended     = sum over all places of weight(y, x) value s(y, x)

    The scale is that of Vaswani et al. (2017). There is no residual sum, since the actor's own features are handed
    on beside what it attended to: ``[a; attended]`` goes through two layers as in :class:`PooledScene`.

    Args:
        in_channels: C, channels of the actor's and of the scene's features.
        out_features: D, channels of the three embeddings and of the result.
        dropout: probability with which an entry of the result is dropped in training.
    """

    def __init__(self, in_channels: int, out_features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_features = out_features
        self.dropout = dropout
        self.query = _embedding(in_channels, out_features)
        self.key = _embedding(in_channels, out_features)
        self.value = _embedding(in_channels, out_features)
        self.pair = _linear_norm_relu(in_channels + out_features, out_features)
        self.context = _linear_norm_relu(out_features, out_features)

    def forward(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        """Return features ``[R, D]`` of every actor and what it attends to in its scene."""
        vectors = actors.amax(dim=(-2, -1))
        paired = self.pair(torch.cat([vectors, self._attended(vectors, scene, clip_index)], dim=1))
        return F.dropout(self.context(paired), p=self.dropout, training=self.training)

    def _attended(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> Tensor:
        """``[R, D]`` of actors ``[R, C]``: all places of all clips in one row, those of other clips masked."""
        num_clips, _, height, width = scene.shape
        places = scene.flatten(2).transpose(1, 2).flatten(0, 1)
        clip_of_place = torch.arange(num_clips, device=scene.device).repeat_interleave(height * width)
        affinity = self.query(actors) @ self.key(places).T / math.sqrt(self.out_features)
        is_elsewhere = clip_index[:, None] != clip_of_place
        return affinity.masked_fill(is_elsewhere, -math.inf).softmax(dim=1) @ self.value(places)


class _BatchNormOfActors(nn.BatchNorm1d):
    """BatchNorm over actors ``[R, D]``. One actor has no variance: it is normalised as in evaluation."""

    def forward(self, features: Tensor) -> Tensor:
        if len(features) != 1:
            return super().forward(features)
        return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


@contextmanager
def _on_copied_buffers(module: nn.Module) -> Iterator[None]:
    """What the modules inside do to their running statistics is forgotten at the end."""
    buffers = [(owner, *item) for owner in module.modules() for item in owner.named_buffers(recurse=False)]
    for owner, name, buffer in buffers:
        setattr(owner, name, buffer.clone())
    try:
        yield
    finally:
        for owner, name, buffer in buffers:
            setattr(owner, name, buffer)


def _linear_norm_relu(in_features: int, out_features: int) -> nn.Sequential:
    """What :func:`_conv_norm_relu` is on one place, initialised likewise."""
    linear = nn.Linear(in_features, out_features, bias=False)
    nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(linear, _BatchNormOfActors(out_features), nn.ReLU(inplace=True))


def _embedding(in_channels: int, out_features: int) -> nn.Linear:
    """A 1x1 convolution over places that stand in one row; initialised as PyTorch's attention is."""
    linear = nn.Linear(in_channels, out_features)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _conv_norm_relu(in_channels: int, out_channels: int, kernel_size: tuple[int, int, int]) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU; initialised as published (Kaiming normal, fan out)."""
    layers = Conv3dNormActivation(in_channels, out_channels, kernel_size=kernel_size, inplace=True)
    nn.init.kaiming_normal_(layers[0].weight, mode="fan_out", nonlinearity="relu")
    return layers
