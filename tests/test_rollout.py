"""Attention rollout, against weights that the models themselves give and products by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import SwinTransformer

import relprop as rp
from conftest import randomised
from small_networks import D, pictures, plain
from test_inputs import Text

transformers = pytest.importorskip("transformers")


def by_hand(layers):
    """Abnar and Zuidema's product, row by row; layers are (B, heads, L, L), lowest first."""
    flow = None
    for weights in layers:
        batch, heads, length, _ = weights.shape
        step = torch.zeros(batch, length, length, dtype=D)
        for i in range(length):
            for j in range(length):
                step[:, i, j] = 0.5 * sum(weights[:, h, i, j] for h in range(heads)) / heads + 0.5 * (i == j)
            step[:, i] /= step[:, i].sum(-1, keepdim=True)
        flow = step if flow is None else torch.einsum("bij,bjk->bik", step, flow)
    return flow


def published(kind, attention="sdpa"):
    torch.manual_seed(0)
    common = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "intermediate_size": 24}
    if kind == "bert":
        config = transformers.BertConfig(**common, num_attention_heads=2, num_labels=3, initializer_range=0.5)
        made = transformers.BertForSequenceClassification
    else:
        config = transformers.LlamaConfig(**common, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.5)
        made = transformers.LlamaForCausalLM
    config._attn_implementation = attention
    return made(config).to(D).eval()


TARGETS = {"bert": 1, "llama": lambda y: y.logits[:, -1, 5]}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_rollout_of_published_models_is_the_product_of_the_weights_that_they_give(kind, attention):
    ids, mask = torch.randint(0, 40, (2, 6)), torch.ones(2, 6, dtype=torch.long)
    if kind == "bert":
        mask[1, 4:] = 0
    weights = published(kind, "eager")(input_ids=ids, attention_mask=mask, output_attentions=True).attentions
    flow = by_hand([w.detach() for w in weights])
    model, x = published(kind, attention), {"input_ids": ids, "attention_mask": mask}
    usual = flow[:, 0] if kind == "bert" else flow[:, -1]
    R = rp.attribute(model, x, TARGETS[kind], "attention-rollout")
    # eager models of transformers take their softmax in float32
    torch.testing.assert_close(R, usual, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(R.sum(1), torch.ones(2, dtype=D))
    assert kind == "llama" or R[1, 4:].abs().max() == 0
    third = rp.attribute(model, x, TARGETS[kind], "attention-rollout:position=2")
    torch.testing.assert_close(third, flow[:, 2], rtol=1e-5, atol=1e-6)
    mean = rp.attribute(model, x, TARGETS[kind], "attention-rollout:position=mean")
    torch.testing.assert_close(mean, flow.mean(1), rtol=1e-5, atol=1e-6)


def test_a_text_that_is_padded_at_the_left_is_as_alone():
    model, ids = published("llama"), torch.randint(0, 40, (2, 6))
    mask = torch.ones_like(ids)
    mask[1, :2] = 0
    R = rp.attribute(model, {"input_ids": ids, "attention_mask": mask}, TARGETS["llama"], "attention-rollout")
    alone = {"input_ids": ids[1:, 2:], "attention_mask": mask[1:, 2:]}
    torch.testing.assert_close(R[1:, 2:], rp.attribute(model, alone, TARGETS["llama"], "attention-rollout"))
    assert (R[1, :2] == 0).all()


class Attends(nn.Module):
    """Two layers of attention by hand or in one call, in float64 to the end: (B, L, 4) to (B, 3)."""

    def __init__(self, by_hand):
        super().__init__()
        torch.manual_seed(1)
        self.by_hand = by_hand
        self.maps = nn.ModuleList(nn.Linear(4, 12) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def qkv(self, layer, x):
        return (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in layer(x).chunk(3, -1))

    def forward(self, x, seen=None):
        for layer in self.maps:
            q, k, v = self.qkv(layer, x)
            if self.by_hand:
                weights = (q @ k.mT / 2**0.5).softmax(-1)
                if seen is not None:
                    seen.append(weights)
                o = F.dropout(weights, 0.1, self.training) @ v
            else:
                o = F.scaled_dot_product_attention(q, k, v)
            x = x + o.transpose(1, 2).flatten(2)
        return self.head(x[:, 0])


@pytest.mark.parametrize("hand", [True, False])
def test_rows_of_tokens_get_their_tokens_share_evenly(hand):
    x = torch.randn(3, 5, 4, dtype=D)
    seen = []
    Attends(by_hand=True).to(D).eval()(x, seen)
    R = rp.attribute(Attends(hand).to(D).eval(), x, 1, "attention-rollout")
    flow = by_hand(seen)[:, 0].detach()
    torch.testing.assert_close(R, (flow / 4)[..., None].expand(-1, -1, 4), rtol=1e-12, atol=1e-15)
    other = rp.attribute(Attends(hand).to(D).eval(), x, 2, "attention-rollout")
    assert torch.equal(R, other)
    alone = rp.attribute(Attends(hand).to(D).eval(), x[1:2], 1, "attention-rollout")
    torch.testing.assert_close(alone, R[1:2], rtol=1e-12, atol=1e-15)


def vit():
    model = VisionTransformer(
        image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3
    )
    nn.init.normal_(model.heads.head.weight)
    return randomised(model)


def weights_of(model, x):
    """What each layer of torchvision's ViT attends to."""
    tokens = model._process_input(x)
    h = torch.cat([model.class_token.expand(len(x), -1, -1), tokens], 1) + model.encoder.pos_embedding
    found = []
    for block in model.encoder.layers:
        y = block.ln_1(h)
        found.append(block.self_attention(y, y, y, average_attn_weights=False)[1].detach())
        h = block(h)
    return found


def test_a_vision_transformers_patches_are_put_back_where_they_were():
    model, x = vit(), pictures(2, 3, 12, 12)
    R = rp.attribute(model, x, 1, "attention-rollout")
    row = by_hand(weights_of(model, x))[:, 0, 1:]
    assert R.shape == x.shape
    for b in range(2):
        for h in range(12):
            for w in range(12):
                expected = float(row[b, (h // 4) * 3 + w // 4]) / (16 * 3)
                assert R[b, :, h, w].tolist() == pytest.approx([expected] * 3, abs=1e-14)
    torch.testing.assert_close(R.sum((1, 2, 3)), row.sum(1))


def test_patches_that_do_not_fill_the_picture_and_no_class_token():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.inner = nn.Conv2d(3, 4, 4, stride=4), Attends(by_hand=False)

        def forward(self, x):
            return self.inner(self.cut(x).flatten(2).transpose(1, 2))

    model, x = Patches().to(D).eval(), pictures(2, 3, 9, 14)  # 2 x 3 patches
    R = rp.attribute(model, x, 0, "attention-rollout")
    seen = []
    by_rows = Attends(by_hand=True).to(D).eval()
    by_rows.load_state_dict(model.inner.state_dict())
    by_rows(model.cut(x).flatten(2).transpose(1, 2), seen)
    row = by_hand(seen).mean(1).detach()
    torch.testing.assert_close(R.sum((1, 2, 3)), torch.ones(2, dtype=D))
    for place in range(6):
        down, across = divmod(place, 3)
        inside = [(h, w) for h in range(9) for w in range(14) if h * 2 // 9 == down and w * 3 // 14 == across]
        share = sum(R[:, :, h, w].sum(1) for h, w in inside)
        torch.testing.assert_close(share, row[:, place], rtol=1e-12, atol=1e-14)


# Refused


class Windows(nn.Module):
    def forward(self, x):
        parts = x.reshape(len(x) * 2, 1, 3, 4)
        return F.scaled_dot_product_attention(parts, parts, parts).reshape(len(x), -1)


class Other(nn.Module):
    """Attends to half of the tokens."""

    def forward(self, x):
        half = x[:, None, :3]
        return F.scaled_dot_product_attention(x[:, None], half, half).flatten(1)


class Pooled(nn.Module):
    """Half as many tokens in the second layer."""

    def forward(self, x):
        x = x[:, None]
        x = F.scaled_dot_product_attention(x, x, x)[:, :, ::2]
        return F.scaled_dot_product_attention(x, x, x).flatten(1)


class Longer(nn.Module):
    def forward(self, x):
        x = torch.cat([torch.ones_like(x), x], 1)[:, None]
        return F.scaled_dot_product_attention(x, x, x).flatten(1)


@pytest.mark.parametrize(
    ("model", "x", "said"),
    [
        (plain(), pictures(), "a model that attends"),
        (Text().to(D).eval(), torch.randint(0, 20, (2, 5)), "a model that attends"),
        (Windows(), torch.randn(2, 6, 4), "windows"),
        (Other(), torch.randn(2, 6, 4), "cross-attention"),
        (Pooled(), torch.randn(2, 6, 4), "differ in their tokens here: 6 x 6, 3 x 3"),
        (Longer(), torch.randn(2, 6, 4), "attends to 12 tokens, and x has 6"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(model, x, said):
    with pytest.raises(rp.InputError, match=said):
        rp.attribute(model.eval(), x, 0, "attention-rollout")


def test_windows_of_a_published_network_are_refused():
    model = randomised(
        SwinTransformer(
            patch_size=[2, 2], embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4], num_classes=3
        )
    )
    with pytest.raises(rp.InputError, match="windows"):
        rp.attribute(model, pictures(1, 3, 32, 32), 0, "attention-rollout")


def test_a_position_that_is_none_is_refused():
    x = torch.randn(2, 5, 4, dtype=D)
    model = Attends(by_hand=False).to(D).eval()
    with pytest.raises(rp.InputError, match="there are 5 tokens"):
        rp.attribute(model, x, 0, "attention-rollout:position=5")
    with pytest.raises(rp.InputError, match="a whole number or 'mean'"):
        rp.attribute(model, x, 0, "attention-rollout:position=last")
    with pytest.raises(rp.InputError, match="finds no convolution"):
        rp.attribute(
            lambda x: model(x.flatten(2).transpose(1, 2)[..., :4]), pictures(1, 4, 3, 3), 0, "attention-rollout"
        )
