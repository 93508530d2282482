"""The examples in the docstrings of everything public: each function has one, and all of them run."""

import doctest
import inspect

import pytest
import torch

import relprop as rp

MODULES = ("", "metrics", "models", "on", "plots", "quantus", "rules", "study")
FIRST = ("run",)  # what it leaves in the folder others read


def public(module):
    """What has a public name there, by its whole name; modules left out."""
    place = getattr(rp, module) if module else rp
    names = sorted(dir(place), key=lambda name: (name not in FIRST, name))
    found = {f"rp.{module}.{name}".replace("..", "."): getattr(place, name) for name in names}
    return {name: each for name, each in found.items() if not inspect.ismodule(each)}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_has_an_example(module):
    functions = {name for name, each in public(module).items() if inspect.isfunction(each)}
    assert {name for name in functions if ">>>" not in inspect.getdoc(public(module)[name])} == set()
    assert functions or module == "rules"


@pytest.mark.parametrize("module", MODULES)
def test_examples_say_what_comes_out(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name, each in public(module).items():
        if inspect.isfunction(each) or inspect.isclass(each):
            for test in finder.find(each, name, module=False, globs={"rp": rp, "torch": torch}):
                runner.run(test, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries > 0


@pytest.mark.parametrize("module", MODULES)
def test_only_public_names_are_listed(module):
    place = getattr(rp, module) if module else rp
    assert dir(place) == sorted(place.__all__)
    assert not [name for name in dir(place) if name.startswith("_")]
    for name, each in public(module).items():
        home = getattr(each, "__module__", None) or "relprop"
        assert home.partition(".")[0] == "relprop" or not callable(each), f"{name} is of {home}"
