"""The Hub of Hugging Face where no one answers, and what was kept from it: for networks of timm and of transformers."""

import pytest


@pytest.fixture
def silent_hub(monkeypatch, tmp_path):
    """A Hub where no one answers, and nothing kept from it."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def hub_folder(hub, repository):
    """The folder of a repository among what the Hub's library keeps, laid out as it does; to be filled."""
    home = hub / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    folder = home / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    return folder
