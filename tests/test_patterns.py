"""Patterns belong to one network and are kept in a file; the embedded networks and the study bring them along."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

import relprop as rp
from pattern_networks import LINEAR, WITH_BIAS, small
from relprop.catalogue.pattern_fit import fit_patterns
from relprop.catalogue.pattern_rules import pattern_net
from relprop.catalogue.patterns import Pattern, PatternError, Patterns, parse
from relprop.models.networks import digits
from relprop.study.task import METHODS, Task
from relprop.support.fingerprint import weights_hash

# Whose patterns they are


def test_patterns_of_another_network_are_refused():
    model, x = small(), torch.randn(8, 3, 6, 6, dtype=torch.float64)
    vars(model)["patterns"] = fit_patterns(model, [x])
    before = rp.attribute(model, x, 0, "pattern-attribution")
    with torch.no_grad():
        model.parts["b"].weight.view(-1)[7] += 1e-6
    with pytest.raises(PatternError, match=r"another network.*rp\.fit_patterns"):
        rp.attribute(model, x, 0, "pattern-attribution")
    with torch.no_grad():
        model.parts["b"].weight.view(-1)[7] -= 1e-6
    model.parts["norm"].running_mean.data[2] += 1  # what no version counter sees
    with pytest.raises(PatternError, match="weights have changed"):
        rp.attribute(model, x, 0, "pattern-net")
    assert torch.isfinite(before).all()


def test_precision_is_no_other_network(tmp_path):
    model, x = small().float(), torch.randn(8, 3, 6, 6)
    patterns = fit_patterns(model, [x])
    vars(model)["patterns"] = patterns
    single = rp.attribute(model, x, 0, "pattern-attribution")
    double = rp.attribute(model.double(), x.double(), 0, "pattern-attribution")
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4 * float(double.abs().max()))
    assert weights_hash(small()) != patterns.model_sha256


def test_without_patterns_it_is_said_how_to_get_some(tmp_path):
    model, x = small(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with pytest.raises(rp.InputError, match=r"relprop patterns.*pattern-attribution:patterns=FILE"):
        rp.attribute(model, x, 0, "pattern-attribution")
    with pytest.raises(rp.InputError, match="did you mean patterns"):
        rp.attribute(model, x, 0, "pattern-net:pattern=a")
    fit_patterns(model, [x]).save(tmp_path / "mine.safetensors")
    with pytest.raises(PatternError, match=r"no such file; did you mean mine\.safetensors"):
        rp.attribute(model, x, 0, f"pattern-net:patterns={tmp_path}/mien.safetensors")
    with pytest.raises(PatternError, match="cannot be read"):
        Patterns.load(tmp_path)


def test_layers_and_shapes_must_be_the_networks():
    def run(width):
        w = torch.randn(3, width, dtype=torch.float64)
        return lambda x: F.linear(x[:, :width], w)

    x = torch.randn(9, 6, dtype=torch.float64)
    found = fit_patterns(run(4), [x])
    with pytest.raises(PatternError, match=r"#1 has shape \(3, 4\), its weight \(3, 5\)"):
        rp.attribute(run(5), x, 0, pattern_net(found))
    first, second = run(4), run(4)
    with pytest.raises(PatternError, match=r"no pattern for .*#2"):
        rp.attribute(lambda x: second(first(torch.cat([x, x], 1)).repeat(1, 2)), x, 0, pattern_net(found))


# The file


def test_a_file_says_what_was_fitted(tmp_path):
    model, x = small().float(), torch.randn(8, 3, 6, 6)
    patterns = rp.fit_patterns(model, x.split(3))
    file = tmp_path / "some, patterns.safetensors"  # options are divided by commas, this is one name all the same
    patterns.save(file)
    read = rp.Patterns.load(file)
    assert (read.samples, read.model_sha256, read.digest) == (8, weights_hash(model), patterns.digest)
    assert {k: p.estimator for k, p in read.layers.items()} == {k: p.estimator for k, p in patterns.layers.items()}
    assert all(torch.equal(read.layers[key].a, patterns.layers[key].a) for key in patterns.layers)
    vars(model)["patterns"] = patterns
    for method in ("pattern-net", "pattern-attribution"):
        by_file = rp.attribute(model, x, 1, f"{method}:patterns={file}")
        assert torch.equal(by_file, rp.attribute(model, x, 1, method))
    patterns.save(tmp_path / "half.safetensors", torch.float16)
    half = rp.Patterns.load(tmp_path / "half.safetensors")
    assert half.digest != patterns.digest
    mine, theirs = (each.layers["parts.fc#1"].a.float() for each in (half, patterns))
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    huge = Patterns({"a#1": Pattern(torch.full((2, 2), 1e6), LINEAR)}, "", 1)
    with pytest.raises(PatternError, match="does not fit into"):
        huge.save(tmp_path / "huge.safetensors", torch.float16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.safetensors", "some, patterns.safetensors"]


def test_a_file_that_is_written_again_is_read_again(tmp_path):
    model, x = small().float(), torch.randn(9, 3, 6, 6)
    file = tmp_path / "a.safetensors"
    maps = []
    for part in (x[:4], x[4:]):
        rp.fit_patterns(model, [part]).save(file)
        maps.append(rp.attribute(model, x[:1], 1, f"pattern-net:patterns={file}"))
    assert not torch.allclose(*maps)


def about(**changed):
    """A file's bytes, with something else said of it."""
    said = {
        "format": "relprop-patterns 1",
        "model_sha256": "",
        "samples": "5",
        "estimators": json.dumps({"a#1": LINEAR}),
    }
    return save({"a#1": torch.ones(2, 3)}, {k: v for k, v in (said | changed).items() if v is not None})


def test_what_is_no_file_of_patterns():
    assert parse(about(), "it").samples == 5
    with pytest.raises(PatternError, match="not of patterns"):
        parse(save({"weight": torch.ones(2)}), "it")
    for wrong in (
        {"samples": "many"},
        {"samples": "0"},
        {"samples": None},
        {"model_sha256": None},
        {"estimators": "[]"},
        {"estimators": "[" * 100_000},
        {"estimators": json.dumps({"a#1": "guess"})},
        {"estimators": json.dumps({"a#1": [LINEAR]})},
        {"estimators": json.dumps({"b#1": LINEAR})},
    ):
        with pytest.raises(PatternError, match="damaged"):
            parse(about(**wrong), "it")
    for tensor in (torch.ones(2, 2, dtype=torch.long), torch.ones(3), torch.full((2, 2), torch.nan)):
        said = {"format": "relprop-patterns 1", "model_sha256": "", "samples": "5"}
        with pytest.raises(PatternError, match="damaged"):
            parse(save({"a#1": tensor}, said | {"estimators": json.dumps({"a#1": LINEAR})}), "it")


HOSTILE = """
import random, resource, sys
from pathlib import Path
import torch
from relprop.catalogue.patterns import Patterns, PatternError
from safetensors.torch import load, save

torch.set_num_threads(1)
whole, file = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
Patterns.load(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
chance, ends = random.Random(0), {"loaded": 0, "refused": 0}
header = 8 + int.from_bytes(whole[:8], "little")
for n in range(int(sys.argv[3])):
    data = bytearray(whole)
    if n % 4 == 0:
        del data[chance.randrange(len(data)):]
    elif n % 4 == 1:
        data[:8] = chance.choice([chance.randrange(2**64), chance.randrange(header * 2)]).to_bytes(8, "little")
    else:
        for _ in range(chance.randrange(1, 8)):  # in the header, mostly
            data[chance.randrange(header if n % 4 == 2 else len(data))] = chance.randrange(256)
    file.write_bytes(data)
    try:
        Patterns.load(file)
    except PatternError as error:
        assert str(file) in str(error) and len(str(error).splitlines()) == 1, error
        ends["refused"] += 1
    else:
        ends["loaded"] += 1
print(ends["loaded"], ends["refused"])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_damaged_files_are_loaded_or_refused(tmp_path, pytestconfig):
    files, damaged = pytestconfig.getoption("--damaged"), tmp_path / "mutated.safetensors"
    fit_patterns(small().float(), [torch.randn(8, 3, 6, 6)]).save(tmp_path / "whole.safetensors")
    ran = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(tmp_path / "whole.safetensors"), str(damaged), str(files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded, refused = map(int, ran.stdout.split())
    assert loaded + refused == files
    assert refused > files // 2
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY or refused


# The networks and the study that come with the package


@pytest.mark.parametrize("name", digits.NAMES)
def test_embedded_networks_bring_theirs(name):
    model = rp.models.load(name)
    found = model.patterns
    found.demand(model)
    assert found.samples == 10_000
    assert {pattern.estimator for pattern in found.layers.values()} == {WITH_BIAS, LINEAR}
    last = list(found.layers)[-1]
    assert [key for key, pattern in found.layers.items() if pattern.estimator == LINEAR] == [last]
    x = torch.randn(2, 3, 64, 64)
    e = rp.explain(model, x, [3], ["pattern-net", "pattern-attribution"])
    assert all(R.isfinite().all() and R.abs().max() > 0 for R in e.relevance.values())
    assert not hasattr(rp.models.load(name, "random"), "patterns")


def test_a_study_measures_what_the_network_has_patterns_for():
    from relprop.data.embedded import embedded as data  # noqa: PLC0415 - a name of its own here
    from relprop.data.geometry import like  # noqa: PLC0415

    def task(weights, methods=()):
        model = rp.models.load("digits-shallow", weights)
        return Task("t", data("multi", "test", 3), model, "digits-shallow", like(model.preprocess), {}, methods)

    own = task(None)
    assert tuple(own.methods) == METHODS
    identity = {"sha256": own.model.patterns.digest, "samples": 10_000, "estimators": [LINEAR, WITH_BIAS]}
    assert own.config()["patterns"] == {"pattern-attribution": identity}
    without = task("random")
    assert set(METHODS) - set(without.methods) == {"pattern-attribution"}
    assert "patterns" not in without.config()
    with pytest.raises(rp.InputError, match="relprop patterns"):
        task("random", ("pattern-attribution",)).config()
