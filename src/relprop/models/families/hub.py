"""Files from the Hugging Face Hub: from where its own library keeps them, or downloaded there.

That library tries for most of a minute before it gives up on a missing network; here it is asked only once the
Hub has answered.
"""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.error import HTTPError, URLError

from relprop.models.errors import ModelError
from relprop.models.families.download import PATIENCE, not_here
from relprop.models.families.optional_libraries import library
from relprop.support.one_line import first_line


def file(repository: str, filename: str, name: str, *, asked: bool) -> Path:
    """Return the local copy of a file, downloaded first where there is none and that is asked for.

    Args:
        repository: ``owner/name``.
        filename: in it.
        name: the model's, for the error.
        asked: whether it may be downloaded.

    Raises:
        ModelError: it is not here and was not asked for; no network, or no such file.
    """
    hub = library("huggingface_hub")
    kept = hub.try_to_load_from_cache(repository, filename)
    if isinstance(kept, str):
        return Path(kept)
    if not asked:
        not_here(name)
    demand_online(name)
    try:
        return Path(hub.hf_hub_download(repository, filename))
    except Exception as error:  # the library's errors stem from three others'
        raise ModelError(f"{name}: no download of {filename} from {repository} ({first_line(error)})") from error


def folder(repository: str, revision: str | None, patterns: list[str], name: str) -> Path:
    """Return a local folder with those files of a repository that fit the patterns, downloaded where they must be.

    Args:
        repository: ``owner/name``.
        revision: a branch, tag or commit; None: the newest.
        patterns: of file names, ``*`` for anything.
        name: the model's, for the error.

    Raises:
        ModelError: no network and no copy, or no such repository.
    """
    hub = library("huggingface_hub")
    try:
        demand_online(name)
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except ModelError as offline:
        try:
            return Path(hub.snapshot_download(repository, revision=revision, local_files_only=True))
        except Exception:  # noqa: BLE001 - there is no copy, for whatever reason
            raise offline from None
    except Exception as error:  # the library's errors stem from three others'
        raise ModelError(f"{name}: no download of {repository} ({first_line(error)})") from error


def demand_online(name: str) -> None:
    """Refuse where the Hub cannot be reached, or must not be (``HF_HUB_OFFLINE``).

    Raises:
        ModelError: with the reason.
    """
    constants = library("huggingface_hub.constants")
    remedy = "fetch it on a machine with a network, and pass the weights with --weights FILE or the folder as hf:FOLDER"
    if constants.HF_HUB_OFFLINE:
        raise ModelError(f"{name}: HF_HUB_OFFLINE is set and there is no copy here; {remedy}")
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the Hub's address
        urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310 - likewise
    except HTTPError:
        return  # it answered
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"{name}: no download from {constants.ENDPOINT} ({reason}); {remedy}") from None
