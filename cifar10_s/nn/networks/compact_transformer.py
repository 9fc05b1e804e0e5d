"""CCT-7/3×1 and CVT-7/4: compact transformers (Hassani et al., Escaping the Big Data Paradigm, 2021).

Widths, depths, rates and the order of the layers are those of the authors' code.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from cifar10_s.nn.networks.layers import convolution

EMBEDDING_SIZE, HEADS, LAYERS, MLP_SIZE = 256, 4, 7, 512
ATTENTION_DROPOUT = 0.1
# The probability at the last layer, for each training image; it grows linearly from 0 at the first layer.
MAX_DROP_PROBABILITY = 0.1
PATCH_SIDE = 4


class Attention(nn.Module):
    """Multi-head self-attention on (B, N, D) tokens, with attention dropout and no bias in its input layer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(EMBEDDING_SIZE, 3 * EMBEDDING_SIZE, bias=False)
        self.projection = nn.Linear(EMBEDDING_SIZE, EMBEDDING_SIZE)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens, (B, N, D)."""
        heads = self.qkv(tokens).unflatten(2, (3, HEADS, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        dropout = ATTENTION_DROPOUT if self.training else 0.0
        mixed = scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        projected: Tensor = self.projection(mixed.transpose(1, 2).flatten(2))
        return projected


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): in training, drops the path of an image with a probability."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens, (B, N, D), scaled to keep their expectation."""
        if not self.training:
            return tokens
        kept = torch.empty_like(tokens[:, :1, :1]).bernoulli_(1 - self.probability)
        return tokens * kept / (1 - self.probability)


class EncoderLayer(nn.Module):
    """Self-attention, then two linear layers with GELU between them, and a shortcut around each."""

    def __init__(self, drop_probability: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(EMBEDDING_SIZE), Attention(), DropPath(drop_probability))
        self.norm = nn.LayerNorm(EMBEDDING_SIZE)
        self.mlp = nn.Sequential(
            nn.Linear(EMBEDDING_SIZE, MLP_SIZE),
            nn.GELU(),
            nn.Linear(MLP_SIZE, EMBEDDING_SIZE),
            DropPath(drop_probability),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens, (B, N, D)."""
        # The authors normalise the shortcut too, unlike a plain pre-norm transformer.
        tokens = self.norm(tokens + self.attention(tokens))
        summed: Tensor = tokens + self.mlp(tokens)
        return summed


class SequencePooling(nn.Module):
    """The mean of (B, N, D) tokens, weighted by what a linear layer makes of each (section 3.2 of the paper)."""

    def __init__(self) -> None:
        super().__init__()
        # The authors have a bias, but the softmax cancels it.
        self.importance = nn.Linear(EMBEDDING_SIZE, 1, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one vector per image, (B, D)."""
        weights: Tensor = self.importance(tokens).softmax(1)
        return (weights * tokens).sum(1)


class CompactTransformer(nn.Module):
    """A tokenizer, position embeddings, seven transformer layers, sequence pooling, and a linear layer.

    Parameters
    ----------
    tokenizer
        Turns (B, C, H, W) images into (B, D, H′, W′) features: N = H′·W′ tokens.
    tokens
        N.
    classes
        K.
    """

    def __init__(self, tokenizer: nn.Module, tokens: int, classes: int) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.positions = nn.Parameter(torch.empty(1, tokens, EMBEDDING_SIZE))
        layers = [EncoderLayer(MAX_DROP_PROBABILITY * index / (LAYERS - 1)) for index in range(LAYERS)]
        self.features = nn.Sequential(*layers, nn.LayerNorm(EMBEDDING_SIZE), SequencePooling())
        self.classifier = nn.Linear(EMBEDDING_SIZE, classes)
        nn.init.trunc_normal_(self.positions, std=0.2)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits for (B, C, H, W) images."""
        tokens = self.tokenizer(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.features(tokens))
        return logits


def cct_7_3x1(channels: int, size: tuple[int, int], classes: int) -> CompactTransformer:
    """Make the compact convolutional transformer: a 3×3 convolution and pooling give one token per 2×2 pixels.

    Parameters
    ----------
    channels, size, classes
        C and (H, W) of the images, and K; there is a position embedding for each token.
    """
    tokenizer = nn.Sequential(convolution(channels, EMBEDDING_SIZE, 3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
    return CompactTransformer(tokenizer, _tokens(size, 2), classes)


def cvt_7_4(channels: int, size: tuple[int, int], classes: int) -> CompactTransformer:
    """Make the compact vision transformer: one token per 4×4 pixels, padded with zeros at the edge.

    Parameters
    ----------
    channels, size, classes
        C and (H, W) of the images, and K; there is a position embedding for each token.
    """
    bottom, right = (-side % PATCH_SIDE for side in size)
    tokenizer = nn.Sequential(
        nn.ZeroPad2d((0, right, 0, bottom)), nn.Conv2d(channels, EMBEDDING_SIZE, PATCH_SIDE, PATCH_SIDE)
    )
    return CompactTransformer(tokenizer, _tokens(size, PATCH_SIDE), classes)


def _tokens(size: tuple[int, int], patch: int) -> int:
    return math.prod(math.ceil(side / patch) for side in size)


def _initialise(module: nn.Module) -> None:
    """Draw initial weights as the authors do; other layers keep PyTorch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
