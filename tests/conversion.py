"""Fixtures of tests of `relprop convert`: weights to convert, and the command where it works and where it refuses."""

import json

import pytest
import torch

from relprop.models.families import embedded

SMALL = "digits-shallow"
GIVEN = "--crop 64 --resize 70 --mean 0.5,0.4,0.3 --std 1,2,1 --channels RGB --scale 1".split()


@pytest.fixture
def folder_of_its_own(tmp_path, monkeypatch):
    """Relative names of files are names in it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(call):
    """Run a command that the user can mend; return its one line on stderr."""

    def run(*words):
        told = call("convert", *words, code=1).stderr
        assert told.startswith("error: ")
        assert told.count("\n") == 1
        return told

    return run


@pytest.fixture
def converts(call):
    """Convert the small network's weights, or others; return what --json tells."""

    def run(*words, source="a.pth", model=SMALL):
        return json.loads(call("convert", source, "--model", model, *words, "--json").stdout)

    return run


@pytest.fixture
def state():
    """The weights of an embedded network."""
    return embedded.trained(SMALL).state_dict()


@pytest.fixture
def _source(state, folder_of_its_own):
    """The same as a torch file, a.pth."""
    torch.save(state, "a.pth")
