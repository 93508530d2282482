"""`rp.study`: the same study from Python, as the documents show it."""

import json
import re
from pathlib import Path

import pytest
from torch import nn

import relprop as rp
from relprop.commands.requests import StudyRequest
from relprop.commands.settings import settings
from relprop.data.embedded import embedded

TEXT = (Path(__file__).parents[1] / "docs" / "study.md").read_text()


@pytest.fixture
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_the_documents_example_runs_and_measures_what_the_command_does(call, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict = {}
    exec(compile(example, "study.md", "exec"), names)
    told = capsys.readouterr().out
    assert re.search(r"^cmp-alpha2-flat: \d+\.\d\d \[", told, flags=re.MULTILINE)
    assert "3 not measurable Not measured: cmp-alpha1" in told
    assert names["study"].rows.values["mu_w"].shape == (len(names["study"].rows.picture), 3)
    words = ("--model", "digits-shallow", "--methods", ",".join(names["methods"]), "--no-occlusion")
    call("study", *words, "--limit", 6, "--out", "command")
    for part in ("rows.parquet", "pairs.parquet", "predictions.parquet"):
        one, other = (Path(name, "parts", "part-000000", part).read_bytes() for name in ("results", "command"))
        assert one == other
    run = json.loads(Path("results", "run.json").read_text())
    assert run["model"]["name"] == type(names["model"]).__name__


@pytest.mark.usefixtures("_here")
def test_a_model_that_says_nothing_of_itself_is_refused():
    with pytest.raises(rp.InputError, match=r"Identity has no \.preprocess or no \.classes; load it with"):
        rp.study.run(nn.Identity(), embedded(number=1), "r")
    assert not Path("r").exists()
    with pytest.raises(rp.RelpropError, match="no study"):
        rp.study.read("r")
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = rp.study.runn


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL))
def test_the_documents_file_of_settings_has_no_key_but_options(block, tmp_path):
    (tmp_path / "study.toml").write_text(block)
    names = {field.replace("_", "-"): field for field in StudyRequest.__dataclass_fields__}
    found = settings(tmp_path / "study.toml", names, ["occlusion"], ["methods"])
    assert found["methods"][2] == "cmp-alpha1-flat:layers=3,eps=0.1"
