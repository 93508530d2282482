"""Networks that attend, by family: ledgers that close, and what is known of each; tiny, in float64."""

import itertools

import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised
from tiny_pictures import vit
from tiny_text import WORDS, D, ids_of, made, padded, transformers

CLOSED = 1e-10
METHODS = ["attnlrp", "cp-lrp"]


def ledgers_close(e, bound):
    for ledger in e.ledger.values():
        assert ledger.error < bound


def softmax_took(ledger):
    """What the rows that say softmax took, (T, B)."""
    rows = [row.bias for row in ledger if row.op == "softmax"]
    return sum(rows) if rows else torch.zeros_like(ledger.start)


# -- pictures ---------------------------------------------------------------------------------------------------------


def tv(name):
    """A tiny network of torchvision."""
    from torchvision import models  # noqa: PLC0415 - slow

    swin = models.swin_transformer
    blocks = {"swin": (swin.SwinTransformerBlock, swin.PatchMerging)}
    blocks["swin v2"] = (swin.SwinTransformerBlockV2, swin.PatchMergingV2)
    if name in blocks:
        block, merging = blocks[name]
        return swin.SwinTransformer(
            [4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5, block=block, downsample_layer=merging
        )
    if name == "maxvit":
        return models.maxvit.MaxVit((32, 32), 8, 4, [8, 16], [1, 1], 8, 0.0, num_classes=5)
    return vit()


def tm(name, **options):
    """A tiny network of timm."""
    return pytest.importorskip("timm").create_model(name, num_classes=5, **options)


def hf(model, config, **options):
    """A tiny network of transformers."""
    library = transformers()
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 5}
    return getattr(library, model)(getattr(library, config)(**size | options))


SMALL = {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 4}
WINDOWS = {"img_size": 32, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
PICTURES = {
    "torchvision's ViT": (lambda: tv("vit"), 16),
    "torchvision's Swin": (lambda: tv("swin"), 32),
    "torchvision's Swin v2": (lambda: tv("swin v2"), 32),
    "torchvision's MaxViT": (lambda: tv("maxvit"), 32),
    "timm's ViT": (lambda: tm("vit_tiny_patch16_224", patch_size=8, **SMALL), 32),
    "timm's DeiT": (lambda: tm("deit_tiny_distilled_patch16_224", patch_size=8, **SMALL), 32),
    "timm's EVA02": (lambda: tm("eva02_tiny_patch14_224", patch_size=7, **SMALL | {"img_size": 28}), 28),
    "timm's Swin": (lambda: tm("swin_tiny_patch4_window7_224", **WINDOWS), 32),
    "timm's Swin v2": (lambda: tm("swinv2_tiny_window8_256", **WINDOWS), 32),
    "timm's MaxViT": (lambda: tm("test_maxvit", img_size=64), 64),
    "timm's ConvNeXt": (lambda: tm("test_convnext"), 32),
    "transformers' ViT": (lambda: hf("ViTForImageClassification", "ViTConfig", image_size=32, patch_size=8), 32),
    "transformers' DINOv2": (
        lambda: hf("Dinov2ForImageClassification", "Dinov2Config", image_size=28, patch_size=7),
        28,
    ),
}
CONVOLUTIONAL = ("timm's ConvNeXt",)
"""LayerNorm alone."""


@pytest.mark.parametrize("family", PICTURES)
def test_pictures(family):
    make, side = PICTURES[family]
    torch.manual_seed(0)
    net = randomised(make())
    for parameter in net.parameters():  # Swin v2 begins with norms that are 0, which let nothing through
        if parameter.ndim == 1 and not parameter.any():
            nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.randn(2, 3, side, side, dtype=D)
    methods = [*METHODS, "attnlrp-vit"]
    e = rp.explain(net, x, [1, 3], methods, check=True)
    ledgers_close(e, CLOSED)
    alone = rp.explain(net, x[1:], [1, 3], methods)
    for method in methods:
        R, one = e.relevance[method], alone.relevance[method]
        assert R.abs().amax((2, 3, 4)).min() > 0
        assert float((R[:, 1:] - one).abs().max()) < 1e-12 * float(one.abs().max())
    attends = family not in CONVOLUTIONAL
    assert bool(softmax_took(e.ledger["attnlrp"]).any()) == attends
    assert not softmax_took(e.ledger["cp-lrp"]).any()
    assert torch.equal(e.relevance["attnlrp"], e.relevance["cp-lrp"]) != attends


# -- text ------------------------------------------------------------------------------------------------------------


TEXT = ["bert", "bert, masked words", "gpt2", "llama", "qwen3", "gemma2", "gemma3"]


@pytest.mark.parametrize("family", TEXT)
@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_text(family, how):
    if (family, how) == ("gemma2", "sdpa"):
        pytest.skip("transformers has no such attention for Gemma 2")
    net = made(family, attn_implementation=how)
    targets = [1, 3] if family == "bert" else [rp.at(-1, 5), rp.at(2, 7, against=3)]
    e = rp.explain(net, padded(ids_of(7, 4)), targets, METHODS, of="input_ids", check=True)
    ledgers_close(e, CLOSED)
    assert (softmax_took(e.ledger["attnlrp"]) != 0).all()
    if "bert" not in family:
        assert not e.relevance["attnlrp"][1, :, 3:].any()  # what comes later is not seen


@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_t5_with_both_sides_explained_and_each_alone(how):
    net = made("t5", attn_implementation=how)
    x = {"input_ids": ids_of(7)[0], "decoder_input_ids": torch.tensor([[0, 5, 7]])}
    both = rp.explain(net, x, [rp.at(-1, 5)], METHODS, check=True)
    ledgers_close(both, CLOSED)
    for name, ids in x.items():
        alone = rp.explain(net, x, [rp.at(-1, 5)], METHODS, of=name, check=True)
        ledgers_close(alone, CLOSED)
        for method in METHODS:
            assert both.relevance[method][name].shape[1:] == ids.shape
            assert alone.relevance[method].any()


@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_clip_explains_the_picture_and_the_text(how):
    library = transformers()
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = size | {"vocab_size": WORDS, "max_position_embeddings": 16, "eos_token_id": WORDS - 1, "bos_token_id": 1}
    sight = size | {"image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = library.CLIPConfig(text_config=words, vision_config=sight, projection_dim=16)
    config._attn_implementation = how
    net = randomised(library.CLIPModel(config))
    x = {"pixel_values": torch.randn(1, 3, 32, 32, dtype=D), "input_ids": torch.tensor([[1, 5, 7, 9, WORDS - 1]])}

    def similarity(output):
        return output.logits_per_image[:, 0]

    e = rp.explain(net, x, [similarity], METHODS, check=True)
    ledgers_close(e, CLOSED)
    for method in METHODS:
        assert {name: R.shape[1:] for name, R in e.relevance[method].items()} == {n: t.shape for n, t in x.items()}
        assert all(bool(R.any()) for R in e.relevance[method].values())
        of_text, of_picture = (
            rp.attribute(net, x, similarity, method, of=name) for name in ("input_ids", "pixel_values")
        )
        assert of_text.shape == x["input_ids"].shape
        assert of_picture.shape == x["pixel_values"].shape


@pytest.mark.parametrize("how", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_without_biases_all_of_the_logit_comes_to_the_tokens(family, how):
    net = made(family, attn_implementation=how)
    assert not any(name.endswith("bias") for name, _ in net.named_parameters())
    ids = torch.cat(ids_of(7, 7))
    targets = [rp.at(-1, 5), rp.at(3, 7)]
    e = rp.explain(net, {"input_ids": ids}, targets, METHODS)
    whole = float(e.values.abs().max())
    came = {method: e.relevance[method].sum(2) for method in METHODS}
    bound = 1e-12 if how == "sdpa" else 1e-6  # transformers' eager attention casts to float32
    assert float((came["cp-lrp"] - e.values).abs().max()) < bound * whole
    assert float((came["attnlrp"] + softmax_took(e.ledger["attnlrp"]) - e.values).abs().max()) < bound * whole


def test_an_encoder_of_torch_with_padding():
    torch.manual_seed(0)
    for norm_first, activation in itertools.product((True, False), ("relu", "gelu")):
        layer = nn.TransformerEncoderLayer(32, 4, 48, activation=activation, batch_first=True, norm_first=norm_first)
        encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        parts = {"words": nn.Embedding(WORDS, 32), "encoder": encoder, "head": nn.Linear(32, 3)}
        net = randomised(nn.ModuleDict(parts))
        batch = padded(ids_of(6, 4, 1))
        hides = batch["attention_mask"] == 0

        def model(ids, net=net, hides=hides):
            return net["head"](net["encoder"](net["words"](ids), src_key_padding_mask=hides[: len(ids)])[:, 0])

        e = rp.explain(model, batch["input_ids"], [0, 2], METHODS, check=True)
        ledgers_close(e, CLOSED)
        assert all(not R[:, hides].any() for R in e.relevance.values())
