"""CCT-7/3×1 and CVT-7/4: compact transformers (Hassani et al., Escaping the Big Data Paradigm, 2021).

Widths, depths, rates and the order of the layers are those of the authors' code.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from cifar10_s.nets.layers import convolution

DIMENSION, HEADS, LAYERS, HIDDEN = 256, 4, 7, 512
ATTENTION_DROPOUT = 0.1
# Chance that a training image skips half of the last layer; it grows linearly from 0 at the first.
LAST_SKIP = 0.1
PATCH = 4


class Attention(nn.Module):
    """Self-attention of several heads on (B, N, D) tokens; no bias before it, and dropout within."""

    def __init__(self) -> None:
        super().__init__()
        self.queries_keys_values = nn.Linear(DIMENSION, 3 * DIMENSION, bias=False)
        self.projection = nn.Linear(DIMENSION, DIMENSION)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the tokens, (B, N, D)."""
        heads = self.queries_keys_values(tokens).unflatten(2, (3, HEADS, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        dropout = ATTENTION_DROPOUT if self.training else 0.0
        mixed = scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        projected: Tensor = self.projection(mixed.transpose(1, 2).flatten(2))
        return projected


class Skip(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): in training, gives zeros for an image with a given chance."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the tokens, (B, N, D), scaled so that their mean stays."""
        if not self.training:
            return tokens
        kept = torch.empty_like(tokens[:, :1, :1]).bernoulli_(1 - self.chance)
        return tokens * kept / (1 - self.chance)


class EncoderLayer(nn.Module):
    """Self-attention, then two linear layers with GELU between them, and a shortcut around each."""

    def __init__(self, skip: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(DIMENSION), Attention(), Skip(skip))
        self.norm = nn.LayerNorm(DIMENSION)
        self.perceptron = nn.Sequential(
            nn.Linear(DIMENSION, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, DIMENSION), Skip(skip)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the tokens, (B, N, D)."""
        # The authors normalise the shortcut too, unlike a plain pre-norm transformer.
        tokens = self.norm(tokens + self.attention(tokens))
        summed: Tensor = tokens + self.perceptron(tokens)
        return summed


class SequencePooling(nn.Module):
    """The mean of (B, N, D) tokens with weights that follow from the tokens (section 3.2 of the paper)."""

    def __init__(self) -> None:
        super().__init__()
        # The authors have a bias, but the softmax takes it away again.
        self.importance = nn.Linear(DIMENSION, 1, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give one vector an image, (B, D)."""
        weights: Tensor = self.importance(tokens).softmax(1)
        return (weights * tokens).sum(1)


class CompactTransformer(nn.Module):
    """A tokenizer, position embeddings, seven transformer layers, sequence pooling, and a linear layer.

    Parameters
    ----------
    tokenizer
        Makes of (B, C, H, W) images (B, D, H′, W′) features: N = H′·W′ tokens.
    tokens
        N.
    classes
        K.
    """

    def __init__(self, tokenizer: nn.Module, tokens: int, classes: int) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.positions = nn.Parameter(torch.empty(1, tokens, DIMENSION))
        layers = [EncoderLayer(LAST_SKIP * index / (LAYERS - 1)) for index in range(LAYERS)]
        self.features = nn.Sequential(*layers, nn.LayerNorm(DIMENSION), SequencePooling())
        self.classifier = nn.Linear(DIMENSION, classes)
        nn.init.trunc_normal_(self.positions, std=0.2)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits."""
        tokens = self.tokenizer(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.features(tokens))
        return logits


def cct_7_3x1(channels: int, size: tuple[int, int], classes: int) -> CompactTransformer:
    """Make the compact convolutional transformer: a token for each 2×2 pixels, of a 3×3 convolution and a pooling.

    Parameters
    ----------
    channels, size, classes
        C and (H, W) of the images, and K; there is a position embedding for each token.
    """
    tokenizer = nn.Sequential(convolution(channels, DIMENSION, 3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
    return CompactTransformer(tokenizer, _tokens(size, 2), classes)


def cvt_7_4(channels: int, size: tuple[int, int], classes: int) -> CompactTransformer:
    """Make the compact vision transformer: a token for each 4×4 pixels; zeros complete those at the edge.

    Parameters
    ----------
    channels, size, classes
        C and (H, W) of the images, and K; there is a position embedding for each token.
    """
    bottom, right = (-side % PATCH for side in size)
    tokenizer = nn.Sequential(nn.ZeroPad2d((0, right, 0, bottom)), nn.Conv2d(channels, DIMENSION, PATCH, PATCH))
    return CompactTransformer(tokenizer, _tokens(size, PATCH), classes)


def _tokens(size: tuple[int, int], patch: int) -> int:
    return math.prod(math.ceil(side / patch) for side in size)


def _initialise(module: nn.Module) -> None:
    """Draw the weights as the authors do; other layers keep PyTorch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
