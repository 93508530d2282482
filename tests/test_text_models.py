"""Models of texts from folders: what they are, what their tokenizers make of texts, and texts in a batch as alone."""

import json

import pytest
import torch

import relprop as rp
import text_models
from loaded_networks import failure
from relprop.models import ModelError, load

TEXTS = ["The capital of France is", "Paris is", "The cat sat on the mat because it was"]


@pytest.fixture
def loaded(tmp_path):
    """Save a model of a kind and load it, in float64."""

    def load_it(kind, *args, **options):
        text_models.save(tmp_path, kind, *args, **options)
        return load(f"hf:{tmp_path}").double()

    return load_it


def test_a_language_model_has_words_for_its_tokens(tmp_path):
    saved = text_models.save(tmp_path, "llama")
    model = load(f"hf:{tmp_path}")
    assert (model.classes, model.training, model.dtype) == ((), False, torch.float32)
    x = model.encode(TEXTS[:1])
    assert set(x) == {"input_ids", "attention_mask"}
    assert "".join(model.tokens(x["input_ids"][0])) == TEXTS[0]
    assert model.tokens(x) == model.tokens(x["input_ids"])
    with torch.no_grad():
        torch.testing.assert_close(model(**x).logits, saved(**x).logits)
    R = rp.attribute(model, x, rp.at(-1, " Paris"), "attnlrp")
    assert R.shape == x["input_ids"].shape


def test_what_reads_texts_takes_no_pictures(tmp_path):
    text_models.save(tmp_path, "gpt2")
    with pytest.raises(ModelError, match=r"it reads texts, no pictures; name one, relprop explain --text"):
        load(f"hf:{tmp_path}").preprocess(None)


def test_a_classifier_of_texts_has_classes(loaded):
    model = loaded("classifier", id2label={0: "dull", 1: "bright", 2: "odd"})
    assert model.classes == ("dull", "bright", "odd")
    x = model.encode(["Paris is the city of light"])
    assert {"input_ids", "attention_mask"} <= set(x) <= {"input_ids", "attention_mask", "token_type_ids"}
    assert model.tokens(x)[0][0] == "[CLS]"
    e = rp.explain(model, x, ["bright"], ["attnlrp"])
    assert e.relevance["attnlrp"].shape == (1, *x["input_ids"].shape)
    assert e.ledger["attnlrp"].error < 1e-12


def test_a_masked_language_model_fills_in(loaded):
    model = loaded("masked")
    x = model.encode(["The capital of France is [MASK]"])
    place = model.tokens(x)[0].index("[MASK]")
    R = rp.attribute(model, x, rp.at(place, "Paris"), "attnlrp")
    assert R.shape == x["input_ids"].shape
    assert float(R.abs().sum()) > 0


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "masked", "classifier", "gpt2 classifier"])
def test_texts_in_a_batch_are_as_they_are_alone(kind, side, loaded):
    model = loaded(kind, side) if "gpt2 c" not in kind else loaded(kind, side, pad_token_id=0)
    names_class = "classifier" in kind
    target = 1 if names_class else rp.at(-1, "Paris" if kind == "masked" else " Paris")
    x = model.encode(TEXTS)
    together = rp.explain(model, x, [target], ["attnlrp", "cp-lrp"])
    assert ("position_ids" in x) == (side == "left" and kind in ("llama", "gpt2"))
    for k, text in enumerate(TEXTS):
        alone = rp.explain(model, model.encode(text), [target], ["attnlrp", "cp-lrp"])
        own = x["attention_mask"][k].bool()
        torch.testing.assert_close(together.values[:, k], alone.values[:, 0], atol=1e-12, rtol=1e-12)
        for method, R in together.relevance.items():
            assert own.sum() < R.shape[2] or text is TEXTS[2]
            assert (R[:, k, ~own] == 0).all()
            torch.testing.assert_close(R[:, k, own], alone.relevance[method][:, 0], atol=1e-12, rtol=1e-12)


def test_relevance_at_every_layer_is_whole(loaded):
    model = loaded("llama")
    x = model.encode(TEXTS)
    paths = ["model.layers.0", "model.layers.1"]
    e = rp.explain(model, x, [rp.at(-1, " Paris")], ["cp-lrp"], inside=paths)
    assert list(e.inside["cp-lrp"]) == paths
    for R in e.inside["cp-lrp"].values():
        torch.testing.assert_close(R[0].sum((1, 2)), e.values[0], atol=1e-12, rtol=1e-12)
        assert (R.sum(-1)[0][~x["attention_mask"].bool()] == 0).all()


def test_words_that_are_no_token_or_several(loaded):
    model = loaded("llama")
    x = model.encode(TEXTS[:1])
    with pytest.raises(rp.InputError, match=r"' Berlin' is 7 tokens of this model \(Ġ B e .*name the first, ' ', or"):
        rp.attribute(model, x, rp.at(-1, " Berlin"), "attnlrp")


def test_a_word_that_the_vocabulary_lacks_is_not_taken_for_the_unknown(loaded):
    model = loaded("masked")
    x = model.encode(TEXTS[:1])
    with pytest.raises(rp.InputError, match=r"'Pariss' is no token of this model; did you mean Paris\?"):
        rp.attribute(model, x, rp.at(-1, "Pariss"), "attnlrp")
    assert rp.attribute(model, x, rp.at(-1, "[UNK]"), "attnlrp").shape == x["input_ids"].shape


def test_texts_that_cannot_be_taken(loaded):
    model = loaded("gpt2")
    for wrong in ([], [3], 7):
        with pytest.raises((rp.InputError, TypeError)):
            model.encode(wrong)
    with pytest.raises(rp.InputError, match=r"'' has no token"):
        model.encode(["Paris", ""])
    with pytest.raises(rp.InputError, match=r"has 60 tokens, and the model takes 48 at most"):
        model.encode("Paris" + " Paris" * 59)


def test_a_model_and_a_tokenizer_of_ones_own():
    tokenizer = text_models.byte_level()
    model = text_models.model_of("llama", tokenizer).double()
    text = rp.models.Text(model, tokenizer)
    assert text.longest == 48
    x = text.encode(TEXTS)
    assert "".join(text.tokens(x)[1]) == TEXTS[1]
    assert not hasattr(model, "tokenizer")
    with pytest.raises(rp.InputError, match=r"has no \.tokenizer that knows words"):
        rp.attribute(model, x, rp.at(-1, " Paris"), "attnlrp")
    model.tokenizer = tokenizer
    assert rp.attribute(model, x, rp.at(-1, " Paris"), "attnlrp").shape == x["input_ids"].shape


def test_a_folder_without_a_tokenizer_explains_ids(tmp_path):
    tokenizer = text_models.byte_level()
    text_models.model_of("llama", tokenizer).save_pretrained(tmp_path)
    model = load(f"hf:{tmp_path}")
    for asked in (model.encode, model.tokens, model.tokenizer):
        with pytest.raises(ModelError, match=r"no tokenizer in .*save it there with tokenizer.save_pretrained"):
            asked(["Paris"])
    assert rp.attribute(model, torch.tensor([[5, 7, 9]]), rp.at(-1, 3), "attnlrp").shape == (1, 3)


def test_kinds_that_are_not_loaded_are_named(tmp_path):
    text_models.save(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaModel"]}))
    told = failure(f"hf:{tmp_path}")
    assert "it is a LlamaModel, and what is loaded is: classifier of pictures (...ForImageClassification), " in told
    assert "masked language model (...ForMaskedLM); build it with transformers" in told


def test_weights_that_lack_a_part(tmp_path):
    saved = text_models.save(tmp_path, "classifier")
    saved.bert.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertForSequenceClassification"]}))
    assert "its weights lack classifier" in failure(f"hf:{tmp_path}")


def test_the_structure_alone_has_words_too(tmp_path):
    saved = text_models.save(tmp_path, "llama")
    (tmp_path / "model.safetensors").unlink()
    assert "no model.safetensors" in failure(f"hf:{tmp_path}")
    model = load(f"hf:{tmp_path}", "random")
    assert not torch.equal(model.lm_head.weight, saved.lm_head.weight)
    assert model.tokens(model.encode(TEXTS[1])) == [["Paris", " is"]]


def test_a_trained_language_model_with_the_vocabulary_of_sentencepiece(tmp_path):
    text_models.save_stories(tmp_path)
    model = load(f"hf:{tmp_path}")
    x = model.encode("Once upon a time, there was a little girl named")
    words = model.tokens(x)[0]
    assert words[:4] == ["<s>", " Once", " upon", " a"]
    e = rp.explain(model, x, [None], ["attnlrp", "cp-lrp"])
    assert model.tokens(e.targets[0]) == [" Lily"]
    assert float(e.values) == pytest.approx(18.05, abs=0.01)
    for method, ledger in e.ledger.items():
        assert ledger.error < 1e-5, method
    assert words[int(e.relevance["attnlrp"][0, 0].argmax())] == " named"


def test_a_file_that_holds_weights_and_words(tmp_path):
    pytest.importorskip("gguf", reason="no gguf: such files are neither written nor read")
    pytest.importorskip("accelerate")
    from gguf_files import write_gguf  # noqa: PLC0415 - it needs gguf

    saved = write_gguf(tmp_path / "tiny.gguf")
    for name in (f"hf:{tmp_path}", f"hf:{tmp_path / 'tiny.gguf'}"):
        model = load(name)
        x = model.encode(TEXTS[:2])
        with torch.no_grad():
            torch.testing.assert_close(model(**x).logits, saved(**x).logits, atol=1e-5, rtol=1e-5)
        assert model.tokens(x)[1] == ["Paris", " is"]
        assert rp.explain(model.double(), x, [rp.at(-1, " Paris")], ["attnlrp"]).ledger["attnlrp"].error < 1e-12
    (tmp_path / "again.gguf").write_bytes(b"")
    assert f"several .gguf files; name one of them, hf:{tmp_path / 'again.gguf'}" in failure(f"hf:{tmp_path}")
    assert "again.gguf cannot be used" in failure(f"hf:{tmp_path / 'again.gguf'}")


def test_what_reads_such_files_may_be_missing(monkeypatch, tmp_path):
    text_models.transformers()
    (tmp_path / "some.gguf").write_bytes(b"")
    monkeypatch.setattr(
        "relprop.models.families.optional_libraries.find_spec", lambda name: None if name == "gguf" else name
    )
    assert failure(f"hf:{tmp_path}") == f'hf:{tmp_path}: gguf is not installed; pip install "relprop[gguf]"'
    assert rp.models.needs(f"hf:{tmp_path}") == 'pip install "relprop[gguf]"'
