"""A small transformer whose parts are spelled in different ways, with the same weights for all of them."""

import math

import torch
from torch import nn
from torch.nn import functional as F

D = torch.float64
WIDTH, HEADS, TOKENS, GIVEN, CLASSES = 8, 2, 5, 4, 3


def heads_of(t):
    """(B, L, D) as (B, heads, L, D / heads)."""
    return t.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def joined(t):
    """And back."""
    return t.transpose(1, 2).flatten(2)


def eager(attention, x, mask):
    """By hand."""
    q, k, v = map(heads_of, F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1))
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores + mask
    return attention.out_proj(joined(scores.softmax(-1) @ v))


def by_einsum(attention, x, mask):
    """With einsum, and the scale on the queries."""
    q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
    q, k, v = (t.unflatten(-1, (HEADS, -1)) for t in (q * (WIDTH // HEADS) ** -0.5, k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k)
    scores = scores if mask is None else scores + mask
    return attention.out_proj(torch.einsum("bhqk,bkhd->bqhd", torch.softmax(scores, 3), v).flatten(2))


def by_bmm(attention, x, mask):
    """With the heads in the axis of the batch."""
    q, k, v = map(heads_of, F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1))
    flat_q, flat_k, flat_v = (t.reshape(-1, *t.shape[-2:]) for t in (q, k, v))
    scores = torch.bmm(flat_q, flat_k.transpose(1, 2)).mul(q.shape[-1] ** -0.5)
    scores = scores if mask is None else scores + mask
    return attention.out_proj(joined(torch.bmm(F.softmax(scores, dim=-1), flat_v).view_as(q)))


def fused(attention, x, mask):
    """In one call."""
    q, k, v = map(heads_of, F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1))
    return attention.out_proj(joined(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))


ATTENTION = {
    "eager": eager,
    "einsum": by_einsum,
    "bmm": by_bmm,
    "fused": fused,
    "module": lambda attention, x, mask: attention(x, x, x, attn_mask=mask, need_weights=False)[0],
    "module with its weights": lambda attention, x, mask: attention(x, x, x, attn_mask=mask)[0],
    "sequence first": lambda attention, x, mask: _sequence_first(attention, x, mask),
}


def _sequence_first(attention, x, mask):
    """The module as it is by default, with the batch in the middle."""
    attention.batch_first = False
    try:
        y = attention(*[x.transpose(0, 1)] * 3, attn_mask=mask, need_weights=False)[0]
    finally:
        attention.batch_first = True
    return y.transpose(0, 1)


GELU = {
    "F.gelu": F.gelu,
    "erf": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "erf first": lambda x: 0.5 * (1.0 + torch.erf(x * 2**-0.5)) * x,
    "erf, multiplied out": lambda x: 0.5 * x + 0.5 * x * torch.erf(x / math.sqrt(2.0)),
}
GELU_TANH = {
    "F.gelu": lambda x: F.gelu(x, approximate="tanh"),
    "as GPT-2 has it": lambda x: (
        0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))
    ),
    "with x * x * x": lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * x * (1.0 + 0.044715 * x * x))),
}
NORM = {
    "F.layer_norm": lambda norm, x: F.layer_norm(x, (WIDTH,), norm.weight, norm.bias, 1e-5),
    "F.rms_norm": lambda norm, x: F.rms_norm(x, (WIDTH,), norm.weight, 1e-5),
    "rsqrt": lambda norm, x: norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)),
    "divided": lambda norm, x: x / torch.sqrt(torch.mean(x * x, -1, keepdim=True) + 1e-5) * norm.weight,
    "through float64, as LLaMA's goes through float32": lambda norm, x: (
        norm.weight * (x.to(D) * torch.rsqrt(x.to(D).pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)
    ),
}


class Block(nn.Module):
    """Pre-norm attention and a perceptron, each with a way around it."""

    def __init__(self, spelled):
        super().__init__()
        self.spelled = spelled
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        attention, norm, activation, mask = self.spelled
        x = x + attention(self.attention, norm(self.norm1, x), mask)
        return x + self.down(activation(self.up(norm(self.norm2, x))))


class Transformer(nn.Module):
    """Numbers of tokens (B, L, 4) to logits (B, 3)."""

    def __init__(self, attention=fused, norm=NORM["F.layer_norm"], activation=F.gelu, mask=None, blocks=2):
        super().__init__()
        self.embed = nn.Linear(GIVEN, WIDTH)
        self.blocks = nn.ModuleList(Block((attention, norm, activation, mask)) for _ in range(blocks))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def transformer(**spelled):
    """With weights that are the same whatever the spelling, and biases that are not zero."""
    torch.manual_seed(3)
    net = Transformer(**spelled).to(D).eval()
    for name, parameter in net.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, float("norm" in name and name.endswith("weight")), 0.3)
    return net


def tokens(batch=2):
    """Inputs."""
    return torch.randn(batch, TOKENS, GIVEN, dtype=D, generator=torch.Generator().manual_seed(4))
