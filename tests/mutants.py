"""Deliberate faults in the engine, to see whether the tests notice: `python tests/mutants.py`.

Each entry of `FAULTS` is one line of the engine and what to write in its place, a fault that changes maps or the ledger
without an error. The text is looked for in every file under src/relprop, not by path, so that files may move; a text
that is found no longer, or more than once, is told and is no result. Each fault is put into a copy of src/ by itself,
and the tests run against that copy (first on the path); they die at the first failure.

    python tests/mutants.py                     # all faults, against 300 random networks
    python tests/mutants.py --networks 1000     # against more
    python tests/mutants.py --fast              # then, where they see nothing, the fast tests of the engine too
    python tests/mutants.py gate signed         # only those whose name holds one of the words

What survives is a hole in the tests, or a fault that changes nothing; those that no drawn network can show stand in
`UNSEEN` with the reason. The exit code is 1 if another one survives or a text is not found. Pytest does not run this by
itself: it takes some minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns

ROOT = Path(__file__).parent.parent
RANDOM = ["tests/test_random_networks.py"]
FAST = [
    f"tests/test_{subject}.py"
    for subject in ("rules", "rules_on_pools", "rules_refused", "engine", "fast_paths", "composites")
]


@dataclass(frozen=True)
class Fault:
    """A name, the text that stands in the engine, and the faulty one."""

    name: str
    old: str
    new: str


FAULTS = [
    # -- rules
    Fault("epsilon doubled", "layer.quotient(R, layer.z, self.eps)", "layer.quotient(R, layer.z, 2 * self.eps)"),
    Fault(
        "epsilon without sign", "e = torch.copysign(z.new_tensor(eps), z + 0.0)", "e = z.new_tensor(eps).expand_as(z)"
    ),
    Fault("bias of the other sign", "else _part(self.b, sign)", "else _part(self.b, -sign)"),
    Fault("bias=False with bias", "if self.b is None or bias is False:", "if self.b is None:"),
    Fault("gamma: negative side empty", "z_minus[0] if z_minus else 0.0", "0.0"),
    Fault("gamma: one side alone", "signs = [+1] if layer.fires else [+1, -1]", "signs = [+1]"),
    Fault(
        "gamma: bias share in the ledger",
        "b + self.gamma * torch.where(positive, b.clamp(min=0), b.clamp(max=0))",
        "b",
    ),
    Fault("w-square: not squared", "w2 = layer.w**2", "w2 = layer.w.abs()"),
    Fault("zB: low for high", "- layer.forward(h, w_minus)", "- layer.forward(l, w_minus)"),
    Fault(
        "flat: always the kernel's area",
        'd = n if self.padding == "real" else torch.full_like',
        "d = torch.full_like",
    ),
    # -- signs of inputs, and what is proved of them
    Fault("signed: weights by the sign alone", "self._w(part * sign)) for part", "self._w(sign)) for part"),
    Fault("signed: every input non-negative", "parts = (+1,) if self.nonneg else (+1, -1)", "parts = (+1,)"),
    Fault("signed: z+ from z whatever the bias", "whole = self.b is None or bias is True", "whole = True"),
    Fault("fires: always", "return self.context.vanishes", "return True"),
    Fault("vanishes: below every rule", "(value.nonneg or value.rectified)", "True"),
    Fault("vanishes: one way is enough", "self.vanishes and other.vanishes", "self.vanishes or other.vanishes"),
    Fault("rectifier: sigmoid", 'RECTIFIERS = ("relu", "relu6")', 'RECTIFIERS = ("relu", "relu6", "sigmoid")'),
    Fault("non-negative: every activation", "(OTHERS, never)", "(OTHERS, always)"),
    Fault("non-negative: hardtanh(-1, 1)", "return low >= 0 and (high", "return (high"),
    Fault("non-negative: add(alpha=-1)", "len(node.inputs) == 2 and terms_of(node)[1][1] > 0", "len(node.inputs) == 2"),
    Fault("non-negative: differences", 'positive=_positive if _name == "add" else never', "positive=kept"),
    Fault("non-negative: a constant joined", "return not node.constants and all(", "return all("),
    # -- BatchNorm
    Fault("norm: merged with two readers", "if layer is not None and len(readers[node.inputs[0]]) == 1:", "if layer:"),
    Fault("norm: eps of 1e-5", 'float(node.argument("eps", 7, 1e-5))', "1e-5"),
    Fault("norm: shift not scaled", "shift = -mean * scale", "shift = -mean"),
    Fault(
        "norm: scale of a transposed layer", "factor.view(self.groups, 1, -1", "factor.flip(0).view(self.groups, 1, -1"
    ),
    Fault("norm: bias not scaled", "else layer.b * scale.to(layer.w.dtype))", "else layer.b)"),
    Fault("norm: merged over another axis", "and len(node.inputs[0].shape) == 2", ""),
    # -- products, additions, moves
    Fault("gate: broadcast one takes all", "return [float(w) for w in whole]", "return [float(not w) for w in whole]"),
    Fault("gate: of equal shape takes all", "return [float(not g) for g in gate]", "return [float(g) for g in gate]"),
    Fault(
        "gate: not through moves",
        'while node is not None and node.kind == "move"',
        'while False and node.kind == "move"',
    ),
    Fault("product: both take all", "return [0.5, 0.5]", "return [1.0, 1.0]"),
    Fault(
        "add: alpha of a difference", "return [(first, 1.0), (second, -alpha)]", "return [(first, 1.0), (second, -1.0)]"
    ),
    Fault("add: alpha of a sum", "return [(first, 1.0), (second, alpha)]", "return [(first, 1.0), (second, 1.0)]"),
    Fault("add: constants pass", "len(node.inputs) == 1 and not node.inputs[0].seen", "len(node.inputs) == 1"),
    Fault("add: constants never pass", "len(node.inputs) == 1 and not node.inputs[0].seen", "False"),
    Fault(
        "add: flat gives all to each",
        "even = upper if len(node.inputs) == 1 else upper / len(node.inputs)",
        "even = upper",
    ),
    Fault("add: factor of a constant in the ledger", "s * (factor * torch.as_tensor", "s * (torch.as_tensor"),
    Fault("add: the sum that a ReLU left", "if not out.rectified or context.vanishes:", "if True:"),
    Fault("add: quotient overwritten too soon", "out=s if term is last[0] else None", "out=s"),
    Fault("move: lost to constants in the ledger", "context.total(upper * (one == zero), value)", "0.0"),
    Fault(
        "move: cat along another axis", 'axis = node.argument("dim", 1, 0) % len(node.outputs[0].shape) + 1', "axis = 2"
    ),
    Fault("detach lets through", "Share((None,), lost=context.total(R[0], node.outputs[0]))", "Share((R[0],))"),
    # -- layers and pools
    Fault("flat: channels not counted", "return area * per_position", "return area"),
    Fault(
        "flat: transposed counts outputs",
        "per_position = w.shape[0] // self.groups if self.transposed",
        "per_position = w.shape[1] if self.transposed",
    ),
    Fault("conv: same padding before", "for n in (0, t % 2))", "for n in (t % 2, 0))"),
    Fault("layer: output that a ReLU left", "if self.rectified and not self.context.vanishes:", "if False:"),
    Fault("max-pool: flat counts padding", "else padded[at].isfinite() for at", "else padded[at] == padded[at] for at"),
    Fault(
        "max-pool: dilation forgotten",
        "per_axis(each, 2) for each in (kernel, stride or kernel, padding, dilation)",
        "per_axis(each, 2) for each in (kernel, stride or kernel, padding, 1)",
    ),
    Fault("average: takes the kernel's area", "rule = Flat(eps=rule.eps)  # the window's own", "rule = rule  #"),
    # -- which rule
    Fault("head: padded convolution", "and not any(conv.padding) and not conv.extra", ""),
    Fault("head: every 1x1", "(node is weighted[-1] and pointwise(node))", "pointwise(node)"),
    Fault("head: gates count", "if node.kind in WEIGHTED and node.reached]", "if node.kind in WEIGHTED]"),
    Fault("first counts gates", "[node for node in nodes if node.reached or everywhere]", "[*nodes]"),
    Fault("first is last", "set(_ordered(of, nodes)[:n])", "set(_ordered(of, nodes)[-n:])"),
    Fault("last: one more", "set(_ordered(of, nodes)[-n:]) if n", "set(_ordered(of, nodes)[-n - 1:]) if n"),
    Fault("rule of a kind that was asked for", "or (node.kind in rule.can and node.kind in selector.kinds)", ""),
    Fault("last match wins", "for selector, rule, found in meant:", "for selector, rule, found in meant[::-1]:"),
    # -- the walk and its memory
    Fault("walk: a second use replaces", "part if known is None else known + part", "part"),
    Fault("walk: relevance overwritten", "start < end and first < stop", "False"),
    Fault("walk: denominators overwritten", "and not any(z is kept for kept in self.kept.values())", ""),
    Fault(
        "walk: z+ that is none",
        'if self.fires and (sign, bias, "where z > 0") in self.kept',
        'if (sign, bias, "where z > 0") in self.kept',
    ),
    Fault(
        "ledger: folded pictures",
        "owners = samples.to(R.device).flatten()",
        "owners = samples.to(R.device).flatten() * 0",
    ),
    Fault(
        "ledger: epsilon of a ReLU's output",
        "return eps * out.sum(2, dtype=dtype)",
        "return 0 * out.sum(2, dtype=dtype)",
    ),
    # -- the record
    Fault("record: no copy of what is overwritten", "copies[place] = value.data.clone()", "copies[place] = value.data"),
    Fault(
        "record: ReLU over what others read",
        "and self._uses[value] == 1\n            and self._sharing",
        "and self._sharing",
    ),
    Fault("record: ReLU over a view", "and self._sharing[storage(target)] == [value]", ""),
    Fault("record: ReLU over what was written", 'and not (value.source.inplace and value.source.kind != "add")', ""),
]

UNSEEN = {
    "record: ReLU over a view": "what shares its memory was made from it, so that the count of its readers tells first",
    "record: ReLU over what was written": "of the ops that can be made again, additions alone write in place",
    "walk: z+ that is none": "not met yet: rules that meet at one layer, of which one alone is proved to vanish",
    "rectifier: sigmoid": "activations that make something of nothing are drawn for gates alone",
}
"""Faults that no small network can show, and why."""


def source_with(fault: Fault, root: Path) -> str:
    """Put a fault into the copy of src/ under `root`; "" or why it could not be."""
    found = [path for path in sorted((root / "src" / "relprop").rglob("*.py")) if fault.old in path.read_text("utf-8")]
    times = sum(path.read_text("utf-8").count(fault.old) for path in found)
    if times != 1:
        return "its text is found no longer" if not times else f"its text is found {times} times"
    text = found[0].read_text("utf-8")
    found[0].write_text(text.replace(fault.old, fault.new), "utf-8")
    return ""


def survives(root: Path, tests: list[str], networks: int) -> bool:
    """Whether the tests pass on the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--networks={networks}", *tests]
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode == 0


def verdict(fault: Fault, networks: int, *, fast: bool) -> str:
    """Killed, survived, or why it cannot be told."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copytree(ROOT / "src", root / "src", ignore=ignore_patterns("__pycache__"))
        problem = source_with(fault, root)
        if problem:
            return f"NOT APPLIED: {problem}"
        if not survives(root, RANDOM, networks):
            return "killed"
        if fast and not survives(root, FAST, networks):
            return "killed by the fast tests alone"
        return f"unseen: {UNSEEN[fault.name]}" if fault.name in UNSEEN else "SURVIVED"


def main() -> int:
    """Try every fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    chosen = [f for f in FAULTS if not given.words or any(word in f.name for word in given.words)]
    bad = 0
    for fault in chosen:
        began = time.monotonic()
        said = verdict(fault, given.networks, fast=given.fast)
        bad += said.isupper() or said.startswith(("SURVIVED", "NOT APPLIED"))
        print(f"{fault.name:45} {said}  ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(chosen)} faults, {bad} that survived or could not be tried")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
