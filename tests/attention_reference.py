"""The formulas of attention as the papers write them, number by number in float64; nothing here knows the engine.

Achtibat et al. (2024), "AttnLRP": propositions 3.1 (softmax), 3.3 (products of two matrices), 3.4 (normalisation). Ali
et al. (2022), CP-LRP: the values take all.
"""

import itertools
import math

import torch

D = torch.float64
LEAST = -1e30  # a mask that is lower swallows whatever it is added to


def softmax_of_row(x):
    """The softmax of a list of numbers; 0 everywhere where all of them are minus infinity."""
    highest = max(x)
    if highest == -math.inf:
        return [0.0] * len(x)
    powers = [math.exp(number - highest) for number in x]
    return [power / sum(powers) for power in powers]


def softmax_share_of_row(x, R):
    """Proposition 3.1: R_i = x_i (R_i - A_i sum_j R_j), 0 where A_i is 0 or a mask swallowed x_i; and the remainder."""
    A = softmax_of_row(x)
    x = [0.0 if a == 0 or number < LEAST else number for a, number in zip(A, x, strict=True)]
    share = [number * (r - a * sum(R)) for number, r, a in zip(x, R, A, strict=True)]
    mean = sum(a * number for a, number in zip(A, x, strict=True))
    return share, sum(r * (1 - number + mean) for r, number in zip(R, x, strict=True))


def softmax_share(x, R, axis):
    """The same along one axis of tensors: relevance of x, and the remainder of each row, with that axis last."""
    x, R = x.movedim(axis, -1), R.movedim(axis, -1)
    below, rest = torch.zeros_like(R), R.new_zeros(R.shape[:-1])
    for place in itertools.product(*map(range, R.shape[:-1])):
        share, rest[place] = softmax_share_of_row(x[place].tolist(), R[place].tolist())
        below[place] = torch.tensor(share, dtype=D)
    return below.movedim(-1, axis), rest


def stable(z, eps):
    """Z + eps sign(z), with sign(0) = +1."""
    return z + eps if z >= 0 else z - eps


def product_share(a, b, R, eps=0.0, added=None):
    """Proposition 3.3 for matrices "a" and "b": R_a[j, i] = sum_p a_ji b_ip / (2 y_jp + 2 eps sign) R_jp, so for R_b.

    What is added in the same call stands in the denominator, too.
    """
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    R_a, R_b = torch.zeros_like(a), torch.zeros_like(b)
    for j, p in itertools.product(range(rows), range(columns)):
        y = sum(float(a[j, i] * b[i, p]) for i in range(inner)) + (0.0 if added is None else float(added[j, p]))
        d = 2 * stable(y, eps)
        for i in range(inner):
            term = float(a[j, i] * b[i, p]) / d * float(R[j, p]) if d else 0.0
            R_a[j, i] += term
            R_b[i, p] += term
    return {"a": R_a, "b": R_b}


def attention_share(q, k, v, R, m=None, scale=None, eps=0.0, constant=()):
    """Attention of one head, o = softmax(scale q k^T + m) v, taken apart into the propositions.

    Args:
        q: queries (L, E).
        k: keys (S, E).
        v: values (S, D).
        R: of the output, (L, D).
        m: the mask, (L, S), bool or added.
        scale: of the scores; None for 1 / sqrt(E).
        eps: of the product with the values.
        constant: of "q", "k", "v" those that are no values: the other factor of their product takes all.

    Returns:
        A dict: "q", "k", "v", "m" relevance, "s" that of scale q k^T, "rest" the softmax's remainder of each row.
    """
    scale = q.shape[1] ** -0.5 if scale is None else scale
    scores = scale * q @ k.T
    added = torch.zeros_like(scores)
    if m is not None:
        added = torch.zeros_like(scores).masked_fill(~m, -math.inf) if m.dtype == torch.bool else m
    x = scores + added
    A = torch.tensor([softmax_of_row(row) for row in x.tolist()], dtype=D)
    R_A, R_v = product_share(A, v, R, eps).values()
    only_weights = "v" in constant
    only_values = {"q", "k"} <= set(constant) and "m" not in constant
    R_A, R_v = (2 * R_A, 0 * R_v) if only_weights else (0 * R_A, 2 * R_v) if only_values else (R_A, R_v)
    R_x, rest = softmax_share(x, R_A, -1)
    of_number = torch.where(R_x == 0, 0.0, R_x / torch.where(x == 0, 1.0, x))
    R_m = of_number * added.masked_fill(added < LEAST, 0.0)
    R_s = of_number * scores
    R_q, R_k = product_share(q, k.T, R_s).values()
    if "q" in constant:
        R_q, R_k = 0 * R_q, 2 * R_k
    elif "k" in constant:
        R_q, R_k = 2 * R_q, 0 * R_k
    return {"q": R_q, "k": R_k.T, "v": R_v, "m": R_m, "s": R_s, "rest": rest}


def values_share(q, k, v, R, m=None, scale=None, eps=0.0):
    """CP-LRP: R_v = sum_j v_i A_ji R_j / (o_j + eps sign), and nothing for what made A."""
    found = attention_share(q, k, v, R, m, scale, eps)
    return {"q": 0 * q, "k": 0 * k, "v": 2 * found["v"], "m": 0 * found["m"]}


def of_heads(share, given, R, **more):
    """What `share` gives for one head, for every picture and head of tensors that may be broadcast or grouped.

    Args:
        share: a function of matrices and R to a dict of relevance, and "rest" of a head.
        given: tensors (..., heads, rows, columns) by the name of the argument.
        R: of the output, (..., heads, rows, columns).
        **more: what `share` takes besides.

    Returns:
        A dict: for each of the given, relevance of its own shape; "rest" summed per picture, (B,).
    """
    heads = R.shape[:-2]
    wide = {name: _for_each_head(t, heads) for name, t in given.items()}
    below = {name: torch.zeros(t.shape, dtype=D) for name, t in wide.items()}
    rest = torch.zeros(heads, dtype=D)
    for place in itertools.product(*map(range, heads)):
        found = share(**{name: t[place] for name, t in wide.items()}, R=R[place], **more)
        for name, whole in below.items():
            whole[place] = found[name]
        rest[place] = found["rest"].sum() if "rest" in found else 0.0
    folded = {name: _as_given(whole, given[name].shape) for name, whole in below.items()}
    return folded | {"rest": rest.reshape(len(R), -1).sum(1)}


def _for_each_head(t, heads):
    """As many heads as the output has: one is repeated for a group of them."""
    if t.ndim > 2 and len(heads) > 1 and t.shape[-3] not in (1, heads[-1]):
        t = t.repeat_interleave(heads[-1] // t.shape[-3], -3)
    return t.expand(*heads, *t.shape[-2:])


def _as_given(R, shape):
    """Relevance of each head as the argument has them: those that share one are added up."""
    if len(shape) > 2 and R.ndim > 3 and shape[-3] not in (1, R.shape[-3]):
        R = R.unflatten(-3, (shape[-3], -1)).sum(-3)
    return R.sum_to_size(shape)


def layer_norm_share(x, R, weight, bias, eps_of_norm, eps=0.0):
    """Proposition 3.4: sigma is a constant, and y = w (x - mean) / sigma + b an affine map; of the last axis alone."""
    below, shift = torch.zeros_like(x), R.new_zeros(R.shape[:-1])
    for place in itertools.product(*map(range, x.shape[:-1])):
        row, n = x[place].tolist(), x.shape[-1]
        mean = sum(row) / n
        sigma = math.sqrt(sum((number - mean) ** 2 for number in row) / n + eps_of_norm)
        for j in range(n):
            y = float(weight[j]) * (row[j] - mean) / sigma + float(bias[j])
            s = float(R[(*place, j)]) / stable(y, eps)
            shift[place] += float(bias[j]) * s
            for i in range(n):
                below[(*place, i)] += row[i] * float(weight[j]) / sigma * ((i == j) - 1 / n) * s
    return below, shift
