"""Pools, and moves: numbers that change their places, are written beside constants, or are cut off."""

import torch
import torch.nn.functional as F
from torch import nn

from intervals import of_constant, signs, with_zero
from random_arithmetic import Arithmetic

LARGEST = 420
"""Numbers of one picture that a value may have: explicit matrices of layers are made of it."""


class Moves(Arithmetic):
    """Draws them."""

    def block_pool(self, r: str) -> str:
        """A maximum or an average over windows."""
        h, w = self.values[r].shape[2:]
        if min(h, w) < 3:
            return self.block_scale(r)
        k, stride = self.rng.choice([2, 3]), self.rng.choice([1, 2, 2])
        padding, ceil = self.rng.choice([0, 0, 1]), self.coin(0.3)
        if self.coin(0.5):
            return self._max_pool(r, k, stride, padding, ceil)
        more = {"count_include_pad": self.coin(0.5)}
        if self.coin(0.15):
            more["divisor_override"] = 5
        how = self.rng.choice(["avg", "avg", "module", "adaptive"])
        if how == "adaptive":
            size = self.rng.choice([2, 3, (2, 1)])
            text = f"F.adaptive_avg_pool2d({r}, {size})"
            return self.emit("average", text, [r], lambda v: F.adaptive_avg_pool2d(v, size), bounds=with_zero)
        pool = nn.AvgPool2d(k, stride, padding, ceil, **more)
        bounds = signs if "divisor_override" in more else with_zero
        if how == "module":
            name = self.module("pool", pool)
            text = f"self.{name}({r})  # {k}, stride {stride}, padding {padding}, {ceil}, {more}"
            return self.emit("average", text, [r], pool, path=name, bounds=bounds)
        text = f"F.avg_pool2d({r}, {k}, {stride}, {padding}, {ceil}, {', '.join(f'{n}={v}' for n, v in more.items())})"
        return self.emit("average", text, [r], pool, bounds=bounds)

    def _max_pool(self, r: str, k: int, stride: int, padding: int, ceil: bool) -> str:
        h, w = self.values[r].shape[2:]
        dilation = 2 if min(h, w) >= 5 and self.coin(0.25) else 1
        how = self.rng.choice(["F", "F", "module", "adaptive", "dim", "indices"])
        if how == "adaptive":
            size = self.rng.choice([2, 3])
            return self.emit(
                "max", f"F.adaptive_max_pool2d({r}, {size})", [r], lambda v: F.adaptive_max_pool2d(v, size)
            )
        if how == "dim":
            axis = self.rng.choice([1, 2, 3])
            value = lambda v: v.max(axis, keepdim=True)[0]  # noqa: E731
            return self.emit("max", f"{r}.max({axis}, keepdim=True)[0]", [r], value)
        settings = (k, stride, padding, dilation)
        value = lambda v: F.max_pool2d(v, *settings, ceil_mode=ceil)  # noqa: E731
        if how == "module":
            name = self.module("pool", nn.MaxPool2d(*settings, ceil_mode=ceil))
            return self.emit("max", f"self.{name}({r})  # {settings}, {ceil}", [r], value, path=name)
        more = ", return_indices=True)[0]" if how == "indices" else ")"
        given = ", ".join(map(str, settings))
        return self.emit("max", f"F.max_pool2d({r}, {given}, ceil_mode={ceil}{more}", [r], value)

    def block_join(self, r: str) -> str:
        """Values one beside the other; parts of one in another order."""
        h, w = self.values[r].shape[2:]
        others = [o for o, v in self.values.items() if v.ndim == 4 and v.shape[2:] == (h, w) and v.shape[1] <= 4]
        if self.coin(0.5) and self.values[r].shape[1] > 1:
            return self._chunks(r)
        parts = [r, self.rng.choice(others or [r])]
        if self.coin(0.3):
            parts = [parts[1], r, parts[1]]
        if sum(self.values[p].shape[1] for p in parts) * h * w > LARGEST:
            return self.block_scale(r)
        if self.coin(0.3) and len({self.values[p].shape for p in parts}) == 1:
            axis = self.rng.choice([2, -1])
            return self.emit("move", f"torch.cat([{', '.join(parts)}], {axis})", parts, lambda *v: torch.cat(v, axis))
        return self.emit("move", f"torch.cat([{', '.join(parts)}], 1)", parts, lambda *v: torch.cat(v, 1))

    def _chunks(self, r: str) -> str:
        """Two parts of a value's channels, each changed or not, put together the other way round."""
        c = self.values[r].shape[1]
        k = c // 2
        how = self.rng.choice(["slice", "split", "narrow"])
        texts = {
            "slice": (f"{r}[:, :{k}]", f"{r}[:, {k}:]"),
            "split": (f"{r}.split([{k}, {c - k}], 1)[0]", f"torch.split({r}, [{k}, {c - k}], 1)[1]"),
            "narrow": (f"{r}.narrow(1, 0, {k})", f"{r}.narrow(1, {k}, {c - k})"),
        }[how]
        a = self.emit("move", texts[0], [r], lambda v: v[:, :k], views=r)
        b = self.emit("move", texts[1], [r], lambda v: v[:, k:], views=r)
        if self.coin(0.4):
            a = self.conv(a, keep=True)
        if self.coin(0.4):
            b = self.fresh(b)
        return self.emit("move", f"torch.cat(({b}, {a}), dim=1)", [b, a], lambda u, v: torch.cat([u, v], 1))

    def block_move(self, r: str) -> str:
        """Numbers that change their places."""
        b, c, h, w = self.values[r].shape
        forms = [
            (f"{r}.permute(0, 1, 3, 2)", lambda v: v.permute(0, 1, 3, 2), r),
            (f"{r}.transpose(1, 2)", lambda v: v.transpose(1, 2), r),
            (f"{r}.flip(3)", lambda v: v.flip(3), None),
            (f"torch.roll({r}, 1, 2)", lambda v: v.roll(1, 2), None),
            (f"{r}.reshape({b}, {h}, {c}, {w})", lambda v: v.reshape(b, h, c, w), r),
            (f"{r}[:, :, ::2]", lambda v: v[:, :, ::2], r),
            (f"{r}[:, [0, {c - 1}, 0]]", lambda v: v[:, [0, c - 1, 0]], None),
            (f"{r}.flatten(2).unsqueeze(1)", None, r),
            (f"{r}.repeat(1, 2, 1, 1)[:, 1:]", None, None),
        ]
        if c % 4 == 0:
            forms += [(f"F.pixel_shuffle({r}, 2)", lambda v: F.pixel_shuffle(v, 2), None)] * 3
        if h % 2 == 0 and w % 2 == 0 and h > 2:
            forms += [(f"F.pixel_unshuffle({r}, 2)", lambda v: F.pixel_unshuffle(v, 2), None)] * 2
        if c % 2 == 0:
            forms += [
                (f"F.channel_shuffle({r}, 2)", lambda v: v.view(b, 2, c // 2, h, w).transpose(1, 2).flatten(1, 2), None)
            ]
        text, f, views = self.rng.choice([form for form in forms if form[1] is not None])
        return self.emit("move", text, [r], f, views=views)

    def block_write(self, r: str) -> str:
        """A part of a value overwritten by a part of another, or by a constant."""
        c = self.values[r].shape[1]
        k = max(c // 2, 1)
        if not self.writable(r):
            return self.block_scale(r)
        others = [o for o in self.like(r) if o in self.values]
        if not others:
            others = [self.conv(r, keep=True)]
        o = self.rng.choice(others)
        how = self.rng.choice(["part", "part", "where", "constant", "copy"])
        if how == "where":
            text = f"torch.where({r} > 0.1, {r}, {o})"
            return self.emit("move", text, [r, o], lambda u, v: torch.where(u > 0.1, u, v))
        if how == "constant":
            value = lambda v: torch.cat([torch.full_like(v[:, :1], 0.25), v[:, 1:]], 1)  # noqa: E731
            return self.emit("move", f"{r}[:, 0] = 0.25", [r], value, writes=r, fill=(0.25, 0.25))
        part = self.emit("move", f"{o}[:, :{k}]", [o], lambda v: v[:, :k], views=o)
        if how == "copy":
            part = self.emit("scale", f"{part} * 0.5", [part], lambda v: v * 0.5, by=(0.5, 0.5))
        value = lambda u, v: torch.cat([v, u[:, k:]], 1)  # noqa: E731
        return self.emit("move", f"{r}[:, :{k}] = {part}", [r, part], value, writes=r)

    def block_pad(self, r: str) -> str:
        """Zeros around, or a constant beside, which are no inputs of the layers that read them."""
        if self.values[r][0].numel() > 120:
            return self.block_scale(r)
        how = self.rng.choice(["zeros", "zeros", "module", "number", "channels", "constant", "cat"])
        if how == "constant":
            c, t = self.constant(1, 1, *self.values[r].shape[2:])
            t = t * 1
            text = f"torch.cat([{r}, self.{c}.expand(len({r}), -1, -1, -1)], 1)"
            value = lambda v: torch.cat([v, t.expand(len(v), -1, -1, -1)], 1)  # noqa: E731
            return self.emit("move", text, [r], value, fill=of_constant(t))
        if how == "cat":
            text = f"torch.cat([torch.zeros_like({r}[:, :, :1]), {r}], 2)"
            return self.emit("move", text, [r], lambda v: F.pad(v, (0, 0, 1, 0)), fill=(0.0, 0.0))
        if how == "module":
            name = self.module("pad", nn.ZeroPad2d(1))
            value = lambda v: F.pad(v, (1, 1, 1, 1))  # noqa: E731
            return self.emit("move", f"self.{name}({r})  # 1", [r], value, path=name, fill=(0.0, 0.0))
        around = {"zeros": (1, 0, 0, 1), "number": (0, 1, 1, 0), "channels": (0, 0, 0, 0, 1, 0)}[how]
        fill = 0.3 if how == "number" else 0.0
        more = f", value={fill}" if fill else ""
        text = f"F.pad({r}, {around}{more})"
        return self.emit("move", text, [r], lambda v: F.pad(v, around, value=fill), fill=(fill, fill))

    def block_stop(self, r: str) -> str:
        """A term that the model cuts off."""
        others = [r, *self.like(r)]
        o = self.rng.choice(others)
        cut = self.emit("stop", f"{o}.detach()", [o], torch.detach, views=o, copies=False)
        y = self.plus(self.conv(r, keep=True), cut)
        self._forget_cut(cut)
        return y

    def block_last_axis(self, r: str) -> str:
        """A linear layer on the channels of each place."""
        c = self.values[r].shape[1]
        y = self.emit("move", f"{r}.permute(0, 2, 3, 1)", [r], lambda v: v.permute(0, 2, 3, 1), views=r)
        y = self.linear(y, self.rng.choice([c, 3]))
        return self.emit("move", f"{y}.permute(0, 3, 1, 2)", [y], lambda v: v.permute(0, 3, 1, 2), views=y)

    def block_rows(self, r: str) -> str:
        """A linear layer on the places of each channel, and a BatchNorm whose channels are not its outputs."""
        h, w = self.values[r].shape[2:]
        y = self.emit("move", f"{r}.flatten(2)", [r], lambda v: v.flatten(2), views=r)
        y = self.linear(y, h * w)
        if self.coin(0.7):
            y = self.norm(y)
        return self.emit("move", f"{y}.unflatten(2, ({h}, {w}))", [y], lambda v: v.unflatten(2, (h, w)), views=y)

    def block_fold(self, r: str) -> str:
        """Half of the channels as pictures of their own, through one convolution."""
        b, c, h, w = self.values[r].shape
        if c % 2:
            return self.block_scale(r)
        y = self.emit(
            "move",
            f"{r}.reshape({r}.shape[0] * 2, {c // 2}, {h}, {w})",
            [r],
            lambda v: v.reshape(len(v) * 2, c // 2, h, w),
            views=r,
        )
        y = self.activation(self.conv(y, keep=True))
        del b
        text = f"{y}.reshape({y}.shape[0] // 2, {c}, {h}, {w})"
        return self.emit("move", text, [y], lambda v: v.reshape(len(v) // 2, c, h, w), views=y)

    def block_upsample(self, r: str) -> str:
        """Nearest neighbours, or a mixture of them."""
        h, w = self.values[r].shape[2:]
        if max(h, w) > 3:
            return self.block_scale(r)
        if self.coin(0.6):
            text = f"F.interpolate({r}, scale_factor=2)"
            return self.emit("move", text, [r], lambda v: F.interpolate(v, scale_factor=2))
        text = f"F.interpolate({r}, size=(4, 3), mode='bilinear', align_corners=False)"
        value = lambda v: F.interpolate(v, size=(4, 3), mode="bilinear", align_corners=False)  # noqa: E731
        return self.emit("interpolate", text, [r], value)
