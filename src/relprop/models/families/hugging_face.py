"""The Hugging Face family: networks in their format, a folder, or a repository on their Hub.

Classifiers of pictures, and of models of texts those that speak (causal), fill in (masked) or classify. Weights are
read from safetensors or GGUF alone, and code that a repository brings along is never run.
"""

from __future__ import annotations

import io
import json
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relprop.models.errors import ModelError
from relprop.models.families import hub, optional_libraries
from relprop.models.families.hugging_face_pictures import preprocess_in
from relprop.models.families.hugging_face_text import equip, no_pictures
from relprop.models.families.needs import GGUF, HUGGING_FACE
from relprop.models.families.quiet_transformers import quiet
from relprop.models.files import checkpoints, weight_files
from relprop.support.files import near
from relprop.support.one_line import first_line

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded

FILES = [
    "config.json",
    "preprocessor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
]
"""What is downloaded of a repository."""


@dataclass(frozen=True)
class Task:
    """What networks of a kind do.

    Attributes:
        marks: what the names of their classes have in them.
        auto: transformers' class that builds them.
        title: what they are, in messages.
        reads: "pictures" or "texts".
        names_classes: whether each of the logits is a class, and no token.
    """

    marks: tuple[str, ...]
    auto: str
    title: str
    reads: str = "texts"
    names_classes: bool = False


PICTURES = Task(
    ("ForImageClassification",), "AutoModelForImageClassification", "classifier of pictures", "pictures", True
)
SPEAKS = Task(("ForCausalLM", "LMHeadModel"), "AutoModelForCausalLM", "language model")
TASKS = (
    PICTURES,
    SPEAKS,
    Task(
        ("ForSequenceClassification",), "AutoModelForSequenceClassification", "classifier of texts", names_classes=True
    ),
    Task(("ForMaskedLM",), "AutoModelForMaskedLM", "masked language model"),
)


@dataclass(frozen=True)
class Place:
    """Where a network's files are.

    Attributes:
        name: what the user called it.
        folder: that holds them.
        gguf: the file that holds everything, if it is one.
    """

    name: str
    folder: Path
    gguf: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What transformers is told wherever it reads: nothing foreign is run, nothing is downloaded."""
        options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        return options if self.gguf is None else options | {"gguf_file": self.gguf}


def load(name: str, weights: str | Path | None) -> Loaded:
    """Build a network.

    Args:
        name: ``hf:FOLDER``, with ``config.json`` and ``model.safetensors`` in it, or one ``.gguf`` file, and what
            `save_pretrained` of its processor or tokenizer wrote; ``hf:FILE.gguf``; or ``hf:OWNER/NAME`` of the Hub,
            with ``@REVISION`` behind it if need be.
        weights: None: its own; ``"random"``; or a file.

    Returns:
        The network in float32; its preprocessing, or a `NotStated` where that is missing, none of ours, or for texts;
        its classes, none for a language model. One of texts has ``tokenizer``, ``encode`` and ``tokens``.

    Raises:
        ModelError: transformers is not installed; no such folder, no network, no safetensors; a network of a kind that
            is not loaded; damaged; code of its own; a file that does not fit.
    """
    optional_libraries.library("transformers", name)
    place = _place(name)
    if place.gguf is not None:
        for library in ("gguf", "accelerate"):
            optional_libraries.library(library, name)
    with quiet():
        config = _config(place)
        task = _task(config, place)
        model = _with_own_weights(place, task) if weights is None else _with_random_weights(config, place, task)
        if task.reads == "texts":
            equip(model, place.folder, name, place.gguf)
    preprocess = preprocess_in(place.folder, name) if task is PICTURES else no_pictures(name)
    labels = (getattr(config, "id2label", None) or {}) if task.names_classes else {}
    classes = tuple(str(labels.get(index, f"class {index}")) for index in range(len(labels)))
    if weights is None or weights == "random":
        return model.float(), preprocess, classes
    found = weight_files.weights_for(name, weights, ["random"])
    checkpoints.fit(model, found.state, found.source, name)
    return model.float(), found.preprocess or preprocess, found.names(len(classes), classes)


def reads(name: str) -> str | None:
    """Return what a network reads, "pictures" or "texts", of a folder that says so; None elsewhere. Nothing is loaded.

    Args:
        name: as `load` has it.
    """
    path = Path(name.removeprefix(HUGGING_FACE))
    if path.suffix == GGUF or (path.is_dir() and any(path.glob(f"*{GGUF}"))):
        return SPEAKS.reads
    try:
        saved_as = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architectures") or ()
    except (OSError, ValueError, AttributeError):
        return None
    marked = (task.reads for task in TASKS if any(mark in str(each) for each in saved_as for mark in task.marks))
    return next(marked, None)


def _place(name: str) -> Place:
    """Where the files are, downloaded first if it is a repository.

    Raises:
        ModelError: they are nowhere.
    """
    place = name.removeprefix(HUGGING_FACE)
    path = Path(place)
    if path.is_file() and path.suffix == GGUF:
        return Place(name, path.parent, path.name)
    if path.is_dir():
        return Place(name, path, _gguf_in(path, name))
    repository, _, revision = place.partition("@")
    if repository.count("/") != 1 or place.startswith((".", "/", "~")):
        remedy = near(path) or "; name a folder, or OWNER/NAME of the Hub"
        raise ModelError(f"{name}: no such folder{remedy}")
    return Place(name, hub.folder(repository, revision or None, FILES, name))


def _gguf_in(folder: Path, name: str) -> str | None:
    """The one GGUF file of a folder that has no other weights.

    Raises:
        ModelError: there are several.
    """
    found = sorted(path.name for path in folder.glob(f"*{GGUF}"))
    if not found or any(folder.glob("*.safetensors")):
        return None
    if len(found) > 1:
        raise ModelError(f"{name}: several .gguf files; name one of them, {HUGGING_FACE}{folder / found[0]}")
    return found[0]


def _config(place: Place) -> Any:
    """The network's configuration.

    Raises:
        ModelError: missing, damaged, or of a network that needs code of its own.
    """
    file = place.folder / (place.gguf or "config.json")
    if not file.is_file():
        raise ModelError(f"{place.name}: no config.json in {place.folder}; save the model there with save_pretrained")
    try:
        return optional_libraries.library("transformers").AutoConfig.from_pretrained(place.folder, **place.options)
    except Exception as error:  # whatever the file's content leads to
        raise ModelError(f"{place.name}: {file} cannot be used ({first_line(error)})") from error


def _task(config: Any, place: Place) -> Task:
    """What the network does, by the class that it was saved as; where none is told, pictures, and texts of a GGUF.

    Raises:
        ModelError: something else.
    """
    saved_as = getattr(config, "architectures", None) or ()
    if not saved_as:
        return PICTURES if place.gguf is None else SPEAKS
    for task in TASKS:
        if any(mark in architecture for architecture in saved_as for mark in task.marks):
            return task
    known = ", ".join(f"{task.title} (...{task.marks[0]})" for task in TASKS)
    raise ModelError(
        f"{place.name}: it is a {saved_as[0]}, and what is loaded is: {known}; build it with transformers, and pass it "
        f"to relprop.attribute"
    )


def _with_own_weights(place: Place, task: Task) -> torch.nn.Module:
    """The network with its own weights, all of them.

    Raises:
        ModelError: they are missing, damaged, pickled, or of a network without a head.
    """
    name, folder = place.name, place.folder
    if place.gguf is None and not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin"))
        reason = "only pickled weights, which are not read" if pickled else "no model.safetensors"
        raise ModelError(f"{name}: {reason} in {folder}; save it with save_pretrained(..., safe_serialization=True)")
    auto = getattr(optional_libraries.library("transformers"), task.auto)
    kept = {"use_safetensors": True} if place.gguf is None else {"torch_dtype": torch.float32}
    try:
        with nullcontext() if place.gguf is None else redirect_stderr(io.StringIO()):  # a bar that nothing turns off
            model, report = auto.from_pretrained(folder, **place.options, **kept, output_loading_info=True)
    except Exception as error:  # whatever the files' content leads to
        reason = f"{name}: not a {task.title} that transformers can load ({first_line(error)})"
        files = "config.json and model.safetensors" if place.gguf is None else place.gguf
        raise ModelError(f"{reason}; see {files} in {folder}") from error
    absent = sorted(map(str, report["missing_keys"]))
    if absent:
        first = f"{', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}"
        kind = task.title.partition(" of ")[0]
        raise ModelError(f"{name}: its weights lack {first} ({len(absent)} in all): no trained {kind} to explain")
    network: torch.nn.Module = model
    if place.gguf is not None:  # its numbers are plain ones now, and may become others of any precision
        vars(network).update(is_quantized=False)
    return network


def _with_random_weights(config: Any, place: Place, task: Task) -> torch.nn.Module:
    """The network with random weights, the same each time, leaving the caller's random numbers alone."""
    auto = getattr(optional_libraries.library("transformers"), task.auto)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: torch.nn.Module = auto.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever the configuration leads to
        raise ModelError(f"{place.name}: not a {task.title} ({first_line(error)}); see its config.json") from error
    return model
