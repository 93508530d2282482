"""Who does a command's work: this process, or processes of Ray."""

from __future__ import annotations

from relprop.commands.requests import ConceptsRequest, PatternsRequest, StudyRequest
from relprop.commands.tune_request import TuneRequest
from relprop.study.by_ray import crew_of
from relprop.study.ray_session import Crew
from relprop.support.errors import InputError

Spreadable = StudyRequest | TuneRequest | PatternsRequest | ConceptsRequest
"""What Ray can do."""


def crew_asked(request: Spreadable) -> Crew | None:
    """Return the processes of Ray that are to work; None: this one.

    Raises:
        InputError: as `crew_of`; or options are Ray's, which would do nothing, as Ray is not asked for.
    """
    if request.ray:
        return crew_of(request.device, request.address, request.actors, request.threads)
    if request.address is not None or request.actors is not None:
        raise InputError("--address and --actors are about Ray's processes; add --ray, or leave them out")
    return None
