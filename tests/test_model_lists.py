"""The lists of networks: names of libraries without importing them, and the near name for a wrong one."""

import importlib.util
import json
import subprocess
import sys

import pytest

from loaded_networks import failure
from relprop.models import ModelError, load, names, registry
from relprop.models.families import library_names


def test_names_of_timm_are_found_without_importing_it():
    timm = pytest.importorskip("timm")
    assert [name.removeprefix("timm:") for name in library_names.timm()] == sorted(timm.list_models())


@pytest.mark.slow
def test_listing_imports_neither_torch_nor_timm_nor_transformers_nor_onnx():
    script = (
        "import sys\nfrom relprop.cli import app\napp(['models', '--json'], standalone_mode=False)\n"
        "slow = {'torch', 'torchvision', 'timm', 'transformers', 'onnx', 'onnx2torch'}\n"
        "print(*(set(sys.modules) & slow), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == "\n"
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows)[: len(names())] == names()
    forms = ["timm:NAME", "hf:FOLDER, hf:OWNER/NAME", "FILE.onnx", "package.module:factory"]
    assert list(rows)[len(names()) :] == forms
    assert rows["caffenet"]["source"] == "Caffe"


def test_names_that_begin_so(call):
    rows = json.loads(call("models", "timm:resnet10", "--json").stdout)
    assert "timm:resnet10t" in {row["name"] for row in rows}
    assert all(row["name"].startswith("timm:resnet10") and row["source"] == "timm" for row in rows)
    assert [row["name"] for row in json.loads(call("models", "resnet1", "--json").stdout)] == [
        "resnet101",
        "resnet152",
        "resnet18",
    ]
    assert call("models", "hf:").stdout.startswith("hf:FOLDER")
    assert "did you mean timm:resnet10t" in call("models", "timm:rasnet10t", code=1).stderr


def test_a_library_that_is_not_installed_is_one_line(monkeypatch, tmp_path):
    absent = {"timm", "transformers", "onnx2torch"}
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "relprop.models.families.optional_libraries.find_spec", lambda name: None if name in absent else find(name)
    )
    library_names.timm.cache_clear()
    (tmp_path / "net.onnx").write_bytes(b"")
    try:
        assert failure("timm:resnet18") == 'timm:resnet18: timm is not installed; pip install "relprop[timm]"'
        assert 'transformers is not installed; pip install "relprop[huggingface]"' in failure(f"hf:{tmp_path}")
        assert 'onnx2torch is not installed; pip install "relprop[onnx]"' in failure(tmp_path / "net.onnx")
        rows = {name: family.needs(name) for name, family in registry.listing()}
        assert rows["timm:NAME"] == 'pip install "relprop[timm]"'
        assert rows["FILE.onnx"] == 'pip install "relprop[onnx]"'
    finally:
        library_names.timm.cache_clear()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm:resnet5O", "did you mean timm:resnet50"),
        ("resnet10t", r"did you mean timm:resnet10t\?"),
        ("efficientnet_lite0x", "did you mean timm:efficientnet_lite0"),
        ("squezenet1_0", "did you mean squeezenet1_0"),
        ("microsoft/resnet-50", "did you mean hf:microsoft/resnet-50"),
        (__file__, r"did you mean .*test_model_lists:FUNCTION\?"),
        ("timm:qqqqqqqqqqqq", "relprop models timm: lists them"),
    ],
)
def test_a_wrong_name_suggests_what_was_meant(name, told):
    with pytest.raises(ModelError, match=told):
        load(name, "random")
