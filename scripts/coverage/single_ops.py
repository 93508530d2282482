"""Single ops behind a convolution: y is (2, 4, 6, 6), m (2, 4, 6), v (2, 24), and c, w, i are constants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from scripts.coverage.cases import Case, Made
from torch import Tensor, nn

ONE_BY_ONE = (
    "abs acos asin asinh atan ceil cos cosh digamma erf erfc exp exp2 expm1 floor frac lgamma log log10 log1p log2 "
    "neg positive reciprocal relu round rsqrt sigmoid sign sin sinc sinh sqrt square tan tanh trunc"
)
ACTIVATIONS = (
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 selu silu softplus "
    "softshrink softsign tanhshrink"
)
EXPRESSIONS = """
F.softmax(v, 1) * v | F.log_softmax(v, 1) | F.softmin(v, 1) * v | F.threshold(y, 0.1, 0.2) | F.prelu(y, c) | F.rrelu(y)
F.glu(y, 1) | F.normalize(v) | F.normalize(y, dim=1) | v / v.norm(dim=1, keepdim=True) | F.layer_norm(m, (6,)) | F.layer_norm(y, (4, 6, 6))
F.group_norm(y, 2) | F.instance_norm(y) | F.rms_norm(m, (6,)) | F.local_response_norm(y, 2) | F.batch_norm(y, c, c.abs() + 1)
F.batch_norm(y, None, None, training=True) | F.dropout(y, training=False) | F.dropout(y) | F.alpha_dropout(y, training=False)
F.avg_pool2d(y, 2) | F.avg_pool2d(y, 3, 2, 1) | F.avg_pool1d(m, 2) | F.avg_pool3d(y[:, None], 2) | F.max_pool2d(y, 2) | F.max_pool1d(m, 2)
F.max_pool3d(y[:, None], 2) | F.adaptive_avg_pool2d(y, 2) | F.adaptive_max_pool2d(y, 2) | F.adaptive_avg_pool1d(m, 3) | F.lp_pool2d(y, 2, 2)
F.fractional_max_pool2d(y, 2, output_size=3) | F.max_pool2d(y, 2, return_indices=True)[0] | unpooled(y) | F.interpolate(y, scale_factor=2)
F.interpolate(y, 9, mode='bilinear') | F.interpolate(y, 9, mode='bicubic') | F.interpolate(y, 3, mode='area') | F.interpolate(m, 9, mode='linear')
F.interpolate(y[:, None], 9, mode='trilinear') | F.interpolate(y, 9, mode='nearest-exact') | F.interpolate(y, 9, mode='bilinear', antialias=True)
F.grid_sample(y, grid, align_corners=False) | F.grid_sample(y, y[:, :2].permute(0, 2, 3, 1), align_corners=False) | F.affine_grid(v[:, :6].view(2, 2, 3), [2, 4, 6, 6], align_corners=False)
F.pixel_shuffle(y, 2) | F.pixel_unshuffle(y, 2) | F.channel_shuffle(y, 2) | F.unfold(y, 2) | F.fold(F.unfold(y, 2), 6, 2) | y.unfold(2, 2, 2)
F.pad(y, (1, 1)) | F.pad(y, (1, 1), value=2.0) | F.pad(y, (1, 1, 1, 1), mode='reflect') | F.pad(y, (1, 1, 1, 1), mode='replicate') | F.pad(y, (1, 1, 1, 1), mode='circular')
F.linear(v, w) | F.bilinear(v, v, w3) | F.conv1d(m, w1) | F.conv2d(y, w2) | F.conv3d(y[:, None], w4) | F.conv_transpose2d(y, w2t) | F.conv_transpose1d(m, w1t)
F.conv2d(y, y[:1, :, :3, :3]) | F.linear(v, v[:1].expand(3, -1)) | v @ w.T | w5 @ m | torch.mm(v, w.T) | torch.matmul(m, w6) | torch.addmm(w7, v, w.T)
torch.bmm(m, m.transpose(1, 2)) | m @ m.transpose(1, 2) | torch.baddbmm(b3, m, m.transpose(1, 2)) | torch.einsum('bchw,dc->bdhw', y, w8) | torch.einsum('bch,bdh->bcd', m, m)
torch.einsum('bch->bhc', m) | torch.einsum('bch->bc', m) | torch.tensordot(v, w, ([1], [1])) | torch.outer(v[0], v[0])[None] | torch.mv(w, v[0])[None]
torch.inner(v, w) | torch.kron(v, w9) | torch.chain_matmul(v, w.T, w10) | torch.linalg.multi_dot([v, w.T, w10]) | torch.cdist(m, b2) | torch.cosine_similarity(m, b2, 2)
torch.cosine_similarity(m, m.flip(2), 2) | F.pairwise_distance(v, v.flip(1), keepdim=True) | F.scaled_dot_product_attention(m, m, m) | F.scaled_dot_product_attention(m, m, m, is_causal=True)
m.softmax(-1) @ m.transpose(1, 2) | y + 1 | y + c4 | 1 - y | y - y.mean(1, keepdim=True) | y + y.flip(1) | y.add(y, alpha=2) | torch.sub(y, 2 * y) | torch.rsub(y, 1)
y * 2 | y * c4 | y * y | y * y.sigmoid() | y * y.sigmoid().expand_as(y) | y * (1 + y.sigmoid()) | y * y.tanh() | y * y.flip(1) | y / 2 | y / c4.exp() | y / (y.square() + 1)
y / (1 + y) | 1 / (1 + y.exp()) | y.div(2, rounding_mode='floor') | y % 2 | y.remainder(2) | y.fmod(2) | y ** 2 | y ** 3 | y ** 0.5 | 2 ** y | y.pow(y) | y.float_power(2)
torch.addcmul(y, y, c4) | torch.addcdiv(y, y, c4.exp()) | torch.lerp(y, y.flip(1), 0.3) | torch.lerp(y, c4, 0.3) | torch.hypot(y, c4) | torch.atan2(y, c4) | torch.logaddexp(y, c4)
y.clamp(0, 1) | y.clamp(min=0) | y.clamp(max=0) | y.clamp(c4, c4 + 1) | y.clip(-1, 1) | torch.clamp(y, y.flip(1)) | y.heaviside(c4) | y.nan_to_num() | torch.copysign(y, c4)
y.sum(1) | y.sum((2, 3)) | y.mean(1) | y.mean((2, 3)) | y.nanmean(1) | y.nansum(1) | y.prod(1) | y.cumsum(1) | y.cumprod(1) | y.logcumsumexp(1) | y.logsumexp(1) | y.std(1) | y.var(1)
y.norm(dim=1) | torch.linalg.vector_norm(y, dim=1) | torch.linalg.norm(v, dim=1, keepdim=True) | y.max(1).values | y.max(1)[0] | y.min(1)[0] | y.amax(1) | y.amin(1) | y.amax((2, 3)) | y.median(1)[0]
y.kthvalue(2, 1)[0] | y.mode(1)[0] | y.quantile(0.5, 1) | y.aminmax(dim=1).max | torch.maximum(y, y.flip(1)) | torch.minimum(y, y.flip(1)) | torch.maximum(y, c4) | torch.fmax(y, c4) | y.cummax(1)[0] | y.cummin(1)[0]
y.argmax(1).to(y) | y.sort(1)[0] | y.topk(2, 1)[0] | y.msort() | y.argsort(1).to(y) | y.unique() | y.histc(4)[None] | y.diff(dim=1) | torch.gradient(y, dim=1)[0] | torch.trapezoid(y, dim=1)
y.view(len(y), -1) | y.reshape(len(y), -1) | y.flatten(1) | y.unflatten(1, (2, 2)) | y.squeeze() | y.unsqueeze(1) | y.permute(0, 2, 3, 1) | y.transpose(1, 2) | y.swapaxes(1, 2) | y.movedim(1, 3) | m.mT | v.view(2, 4, 6).T
y.expand(-1, 4, 6, 6) | y[:, :1].expand(-1, 3, 6, 6) | y.repeat(1, 2, 1, 1) | y.tile(1, 2, 1, 1) | y.repeat_interleave(2, 1) | y.roll(1, 1) | y.flip(1) | y.fliplr() | y.rot90(1, (2, 3)) | y.broadcast_to(len(y), 4, 6, 6)
torch.cat([y, y], 1) | torch.cat([y, c4], 1) | torch.stack([y, y], 1) | torch.hstack([v, v]) | torch.vstack([v[:1], v[1:]]) | torch.dstack([m, m]) | torch.concat([y, y], -1) | torch.block_diag(v)[None].flatten(1)
y.split(2, 1)[0] | y.chunk(2, 1)[1] | y.unbind(1)[0] | y.tensor_split(2, 1)[0] | y.hsplit(2)[0] | y.narrow(1, 0, 2) | y.select(1, 0) | y.index_select(1, i) | y[:, 1:3] | y[:, i] | y[..., ::2] | y[:, [0, 2]] | y[:, None]
y.gather(1, i4) | y.take_along_dim(i4, 1) | y.masked_fill(c4 > 0, 0.0) | torch.where(c4 > 0, y, c4) | torch.where(y > 0, y, 0.0) | y.masked_select(c4.expand(2, -1, -1, -1) > 0)[None] | y.take(i5)[None] | y.diagonal(0, 2, 3) | y.tril() | y.triu()
y.scatter(1, i4, c44) | y.scatter_add(1, i4, y) | y.index_add(1, i, y[:, :2]) | y.index_copy(1, i, y[:, :2]) | y.index_fill(1, i, 0.0) | y.index_put((i,), c4) | y.masked_scatter(c4.expand(2, -1, -1, -1) > 0, y) | y.scatter_reduce(1, i4, y, 'sum')
y.put(i5, c5) | y.select_scatter(y[:, 0], 1, 1) | y.slice_scatter(y[:, :2], 1, 2) | torch.diag_embed(m) | torch.diagonal_scatter(y, y[:, :, 0], 0, 2, 3) | written(y, 'fill') | written(y, 'slice') | written(y, 'add') | written(y, 'mul') | written(y, 'copy')
y.clone().relu_() | y.clone().add_(1) | y.clone().mul_(2) | y.clone().clamp_(0) | y.clone().zero_() | y.clone().fill_(1) | y.contiguous() | y.clone() | y.detach() | y.detach() + y | y.float() | y.to(torch.float64) | y.double() | y.type_as(c4)
y.half().to(y.dtype) | y.bfloat16().to(y.dtype) | y.round() | y.long().to(y) | (y > 0).to(y) | (y > 0) * y | y.sign() * y | y.abs().sqrt() | y.relu().sqrt() | y.sigmoid() | y.sigmoid().log() | torch.logit(y.sigmoid()) | y.exp() / y.exp().sum(1, keepdim=True)
torch.fft.fft(v).real | torch.fft.rfft(v).abs() | torch.stft(v, 8, return_complex=True).abs() | torch.complex(y, y).abs() | torch.view_as_real(torch.complex(y, y)) | torch.linalg.inv(m @ m.mT + 9 * eye) | torch.linalg.det(m @ m.mT)[:, None] | torch.linalg.svdvals(m)
torch.linalg.solve(eye + 0.1 * m @ m.mT, m) | torch.linalg.qr(m)[0] | torch.linalg.cholesky(m @ m.mT + eye) | torch.matrix_exp(0.1 * m @ m.mT) | torch.sparse.mm(sparse, v.T).T | torch.cross(m[..., :3], b2[..., :3], dim=2) | torch.renorm(y, 2, 1, 1.0) | torch.special.i0(y)
rnn(m) | lstm(m) | gru(m) | mha(m) | encoder(m) | torch.cumulative_trapezoid(y, dim=1) | torch.vander(v[0], 3)[None] | torch.polygamma(1, y.abs() + 1) | torch.nn.functional.gumbel_softmax(v) | torch.bernoulli(y.sigmoid()) | y + torch.randn_like(y) | torch.tensor(y.tolist())
"""  # noqa: E501 - as a table


class Scope(dict[str, Any]):
    """What expressions may name."""


def scope(dtype: torch.dtype) -> Scope:
    """Constants, small modules, and helpers."""
    g = torch.Generator().manual_seed(1)

    def r(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    modules = {
        "rnn": nn.RNN(6, 5, batch_first=True),
        "lstm": nn.LSTM(6, 5, batch_first=True),
        "gru": nn.GRU(6, 5, batch_first=True),
        "mha": nn.MultiheadAttention(6, 2, batch_first=True),
        "encoder": nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
    }
    made = {name: module.to(dtype).eval() for name, module in modules.items()}
    calls = {name: (lambda m, f=module: f(m)[0]) for name, module in made.items() if name not in ("mha", "encoder")}
    i4 = torch.tensor([1, 0, 3, 2]).view(1, 4, 1, 1).expand(2, 4, 6, 6)
    return Scope(
        torch=torch, F=F, c=r(4), c4=r(1, 4, 6, 6), c44=r(2, 4, 6, 6), c5=r(2), w=r(3, 24), w1=r(3, 4, 2),
        w1t=r(4, 3, 2),
        w2=r(3, 4, 2, 2), w2t=r(4, 3, 2, 2), w3=r(3, 24, 24), w4=r(2, 1, 2, 2, 2), w5=r(3, 4), w6=r(6, 3), w7=r(3),
        w8=r(3, 4), w9=r(1, 2), w10=r(3, 2), b2=r(2, 4, 6), b3=r(2, 4, 4), eye=torch.eye(4, dtype=dtype),
        grid=r(2, 3, 3, 2).tanh(), i=torch.tensor([2, 0]), i4=i4, i5=torch.tensor([3, 5]),
        sparse=torch.eye(24, dtype=dtype).to_sparse(), unpooled=unpooled, written=written,
        mha=lambda m: made["mha"](m, m, m)[0], encoder=made["encoder"], **calls,
    )  # fmt: skip


def unpooled(y: Tensor) -> Tensor:
    """Pooled and put back."""
    pooled, places = F.max_pool2d(y, 2, return_indices=True)
    return F.max_unpool2d(pooled, places, 2)


def written(y: Tensor, how: str) -> Tensor:
    """Writes in place."""
    z = y.clone()
    if how == "fill":
        z[:, 0] = 0.0
    elif how == "slice":
        z[:, :2] = 2 * y[:, 2:]
    elif how == "add":
        z[:, :2] += y[:, 2:]
    elif how == "mul":
        z[:, :2] *= 2
    else:
        z[:, :2].copy_(y[:, 2:])
    return z


class Op(nn.Module):
    """A convolution, the op, and all numbers side by side."""

    def __init__(self, expression: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.code = compile(expression, expression, "eval")
        self.scope: Scope | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The op's numbers, (2, n)."""
        y = self.conv(x)
        if self.scope is None or self.scope["c"].dtype != x.dtype:
            self.scope = scope(x.dtype)
        m, v = y.mean(3), y.mean(3).flatten(1)
        result: Tensor = eval(self.code, {**self.scope, "y": y, "m": m, "v": v})  # noqa: S307 - our own expressions
        return result.reshape(result.shape[0], -1) if result.ndim > 1 else result[:, None]


def of_single_ops() -> Iterator[Case]:
    """Every expression."""
    words = [f"torch.{name}(y)" for name in ONE_BY_ONE.split()] + [f"F.{name}(y)" for name in ACTIVATIONS.split()]
    words += [text.strip() for line in EXPRESSIONS.strip().splitlines() for text in line.split(" | ")]
    for text in dict.fromkeys(words):
        yield Case("single ops", text, lambda t=text: op(t))


def op(text: str) -> Made:
    """One of them."""
    return Op(text), torch.randn(2, 3, 6, 6), 0
