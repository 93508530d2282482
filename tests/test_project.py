"""What a project needs beside its code: licences, how to cite, what a release does; and that each says what is so."""

import runpy
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

import relprop as rp

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def licences():
    return runpy.run_path(str(ROOT / "scripts/licences.py"))


def test_nothing_that_is_installed_along_is_under_copyleft(licences):
    packages = licences["brought_along"]()
    assert {"torch", "numpy", "pillow", "typer", "tqdm"} <= packages.keys()
    told = {name: licences["licence_of"](package) for name, package in packages.items()}
    assert all(told.values())
    assert not {name: licence for name, licence in told.items() if licences["COPYLEFT"].search(licence)}
    for other in ("zennit", "quantus"):  # which are compared with, and are not installed along
        assert licences["COPYLEFT"].search(licences["licence_of"](distribution(other)))
        assert other not in licences["brought_along"](licences["extras"]())


def test_the_licences_of_all_dependencies_are_listed(licences):
    listed = (ROOT / "docs/licences.md").read_text()
    for needed in PROJECT["dependencies"]:
        assert f"| {needed.partition('>')[0]} |" in listed
    for name, package in licences["brought_along"](licences["extras"]()).items():
        assert f"| {name} | {licences['licence_of'](package)} |" in listed, "python scripts/licences.py writes it anew"


def test_citation_and_package_tell_the_same():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["version"] == rp.__version__
    assert cited["license"] == PROJECT["license"]
    assert cited["authors"] == [{"name": "The relprop developers"}]
    assert cited["references"][0]["url"] == PROJECT["urls"]["Paper"]
    assert "The relprop developers" in (ROOT / "LICENSE").read_text()


def test_what_a_release_runs_is_there():
    steps = {}
    for name in ("ci", "release"):
        flow = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
        steps[name] = [step.get("run", "") for job in flow["jobs"].values() for step in job["steps"]]
        assert flow["permissions"] == {"contents": "read"}
    assert any("bash .ci/run" in run for run in steps["ci"])
    assert any("bash .ci/wheel dist" in run for run in steps["release"])
    assert "bash .ci/wheel" in (ROOT / ".ci/run").read_text()


def test_hooks_before_a_commit_are_our_own_tools():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].split()[2] for hook in repository["hooks"]] == ["ruff", "ruff", "mypy", "lint-imports"]
