"""Maps of LXT's efficient form, of the tiny models of the tests: a program, as LXT patches classes for good.

    python tests/lxt_maps.py FOLDER

writes a tensor a case to FOLDER; every case runs in a fork of its own. LXT 2.1 was written for an older transformers,
so what that no longer has is given to it here: none of it takes part in a rule.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from forks import for_each
from tiny_pictures import picture, vit
from tiny_text import D, ids_of, made, transformers

TEXT = ("llama", "qwen3", "gemma3", "gpt2", "bert")
GAMMAS = {"soft": (0.25, 0.05), "hard": (100.0, 1.0)}
CASES = [(name, method) for name in TEXT for method in ("attnLRP", "cp_LRP") if (name, method) != ("bert", "cp_LRP")]
CASES += [("vit", "cp_LRP"), *(("vit", gammas) for gammas in GAMMAS)]
"""LXT has no CP-LRP for BERT."""


def text():
    """A text (1, 8) for all of them."""
    return ids_of(9)[0][:, 1:]


class Asked(dict):
    """LXT puts a plain dict in the place of transformers' table of attention functions, which has this method now."""

    def get_interface(self, name, default=None):
        return self.get(name, default)


def patched(name, method):
    """The model as LXT makes it. Its BERT is its own, and wants a field and a method that transformers has dropped."""
    from lxt.efficient import monkey_patch  # noqa: PLC0415 - it is not always installed

    module = import_module(f"transformers.models.{name}.modeling_{name}")
    unpatched = made(name)
    monkey_patch(module, getattr(import_module(f"lxt.efficient.models.{name}"), method))
    if name == "bert":
        config = unpatched.config
        config.position_embedding_type = "absolute"
        module.BertModel.get_head_mask = lambda self, mask, layers: [None] * layers
        net = module.BertForSequenceClassification(config)
        net.load_state_dict(unpatched.state_dict())
        return net.to(D).eval()
    if type(module.ALL_ATTENTION_FUNCTIONS) is dict:
        module.ALL_ATTENTION_FUNCTIONS = Asked(module.ALL_ATTENTION_FUNCTIONS)
    return made(name)


def of_text(name, method):
    """Gradient times embedded rows, which is relevance in LXT's form."""
    net = patched(name, method).requires_grad_(False)
    rows = net.get_input_embeddings()(text()).detach().requires_grad_()
    logits = net(inputs_embeds=rows).logits
    (logits[0, 1] if name == "bert" else logits[0, -1, 5]).backward()
    return (rows * rows.grad).sum(-1).detach()


def of_picture(method):
    """CP-LRP, or the recipe for vision transformers: zennit's gamma on all layers that its hooks reach."""
    from lxt.efficient import monkey_patch, monkey_patch_zennit  # noqa: PLC0415
    from torchvision.models import vision_transformer  # noqa: PLC0415

    monkey_patch(vision_transformer)
    net, x = vit(), picture().requires_grad_()
    if method in GAMMAS:
        import zennit.rules as peer  # noqa: PLC0415
        from zennit.composites import LayerMapComposite  # noqa: PLC0415

        monkey_patch_zennit()
        conv, linear = GAMMAS[method]
        LayerMapComposite([(nn.Conv2d, peer.Gamma(conv)), (nn.Linear, peer.Gamma(linear))]).register(net)
    net(x)[0, 1].backward()
    return (x * x.grad).detach()


def main(folder):
    """Write all maps, each from a process of its own."""
    torch.set_num_threads(1)
    transformers()
    import transformers.pytorch_utils as utils  # noqa: PLC0415

    if not hasattr(utils, "find_pruneable_heads_and_indices"):  # what LXT's BERT imports, and does not call
        utils.find_pruneable_heads_and_indices = None
    import_module("lxt.efficient")

    def work(case):
        name, method = case
        found = of_picture(method) if name == "vit" else of_text(name, method)
        torch.save(found, folder / f"{name}-{method}.pt")

    for_each(CASES, work)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
