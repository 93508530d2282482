"""The addresses of the page, and what stands behind each."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relprop.support.errors import RelpropError
from relprop.support.shrinking import no_memory, out_of_memory
from relprop.web import figures
from relprop.web.asked import Asked, asked_in, id_in, text_in
from relprop.web.bodies import GoneError, Receive, Room, gone, mapping_in, read, stated_size
from relprop.web.limits import Limits
from relprop.web.networks import Networks
from relprop.web.pictures import Pictures
from relprop.web.refused import Refused, one_line, shown
from relprop.web.samples import SAMPLES, sample
from relprop.web.study import StudyFolder
from relprop.web.texts import Texts
from relprop.web.titles import methods
from relprop.web.worker import Worker

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


class Served:
    """What is served: the networks of the command line, and what was handed over to them.

    Args:
        networks: the networks.
        limits: of requests.
        page: the HTML at the root.
        study: that is looked at; None: none.
    """

    def __init__(self, networks: Networks, limits: Limits, page: str, study: StudyFolder | None = None) -> None:
        self.networks = networks
        self.limits = limits
        self.page = page
        self.study = study
        self.worker = Worker(limits.waiting, limits.seconds)
        self.pictures = Pictures(networks, limits)
        self.texts = Texts(networks, limits)
        self.room = Room(limits.under_way)

    def app(self) -> Starlette:
        """The application, without the guard."""
        posts: dict[str, Endpoint] = {
            "/api/pictures": self.post_picture,
            "/api/samples/{name}": self.post_sample,
            "/api/texts": self.post_text,
            "/api/explain": self.post_explain,
            "/api/figure": self.post_figure,
            "/api/study/pictures/{key}": self.post_study_picture,
        }
        gets: dict[str, Endpoint] = {
            "/": self.get_page,
            "/api/networks": self.get_networks,
            "/api/samples": self.get_samples,
            "/api/pictures/{id}": self.get_picture,
            "/api/study/rows": self.get_study_rows,
        }
        routes = [Route(path, _told(endpoint), methods=["POST"]) for path, endpoint in posts.items()]
        routes += [Route(path, _told(endpoint), methods=["GET"]) for path, endpoint in gets.items()]
        made = Starlette(routes=routes, exception_handlers={404: _nothing_there, 405: _nothing_there})
        made.router.redirect_slashes = False
        return made

    async def get_page(self, _: Request) -> Response:
        """The page itself."""
        return Response(self.page, media_type="text/html")

    async def get_networks(self, _: Request) -> Response:
        """What can be asked."""
        limits = {name: getattr(self.limits, name) for name in ("bytes", "pixels", "targets", "methods", "maps")}
        return _json(
            {
                "networks": [network.about() for network in self.networks.all],
                "methods": methods(),
                "limits": limits | {"characters": self.limits.characters},
                "study": None if self.study is None else self.study.about(),
            }
        )

    async def get_samples(self, _: Request) -> Response:
        """Pictures that are in the package."""
        return _json([{"name": name, "title": words} for name, words in SAMPLES.items()])

    async def post_picture(self, request: Request) -> Response:
        """A picture, its bytes the body."""
        network = self._network(request)
        what, most = "a picture's file", self.limits.bytes
        async with self.room.of(stated_size(request.scope["headers"], most, what)):
            body = await read(request.receive, most, what, self.limits.body_seconds)
            return _json(await self._done(request.receive, lambda: self.pictures.add(body, network)))

    async def get_picture(self, request: Request) -> Response:
        """What was answered to a picture, once more."""
        network, id_ = self._network(request), id_in(request.path_params["id"], "picture")
        await self._body(request)
        return _json(await self._done(request.receive, lambda: self.pictures.again(id_, network)))

    async def post_sample(self, request: Request) -> Response:
        """One of the package's own pictures."""
        network, found = self._network(request), sample(request.path_params["name"])
        await self._body(request)
        return _json(await self._done(request.receive, lambda: self.pictures.add(found.data(), network, found.code)))

    async def post_text(self, request: Request) -> Response:
        """A text."""
        given = mapping_in(await self._body(request))
        text = text_in(given, "text", self.limits.characters)
        network = text_in(given, "network", self.limits.name)
        self.networks.named(network)
        return _json(await self._done(request.receive, lambda: self.texts.add(text, network)))

    async def post_explain(self, request: Request) -> Response:
        """Maps of a picture, or of a text."""
        asked = self._asked(await self._body(request))
        work = self.pictures.document if asked.of == "picture" else self.texts.document
        encoded = await self._done(request.receive, lambda: json.dumps(work(asked), allow_nan=False).encode())
        return Response(encoded, media_type="application/json")

    async def post_figure(self, request: Request) -> Response:
        """The same as a figure."""
        kind = figures.demand_kind(request.query_params.get("format", "pdf"))
        body = await self._body(request)
        asked, look = self._asked(body), figures.look_in(mapping_in(body))
        drawn = await self._done(request.receive, lambda: figures.figure(self.pictures, asked, look, kind))
        name = {"Content-Disposition": f'attachment; filename="relprop.{kind}"'}
        return Response(drawn, media_type=figures.KINDS[kind], headers=name)

    async def get_study_rows(self, request: Request) -> Response:
        """Rows of the study."""
        found = self._study().rows(request.query_params, self.limits)
        await self._body(request)
        return _json(await self._done(request.receive, found))

    async def post_study_picture(self, request: Request) -> Response:
        """A picture of the study."""
        study, network, key = self._study(), self._network(request), request.path_params["key"]
        await self._body(request)
        return _json(
            await self._done(request.receive, lambda: study.picture(key, network, self.networks, self.pictures))
        )

    def _study(self) -> StudyFolder:
        if self.study is None:
            raise Refused(404, "no study is open; relprop serve --study FOLDER opens one")
        return self.study

    async def _body(self, request: Request) -> bytes:
        what, most = "a question", self.limits.json
        stated_size(request.scope["headers"], most, what)
        return await read(request.receive, most, what, self.limits.body_seconds)

    def _asked(self, body: bytes) -> Asked:
        asked = asked_in(mapping_in(body), self.limits)
        self.networks.named(asked.network)
        return asked

    def _network(self, request: Request) -> str:
        """The network that an address names; the first of the pictures' where it names none."""
        for_pictures = (network.name for network in self.networks.all if network.kind != "text")
        name = request.query_params.get("network") or next(for_pictures, self.networks.all[0].name)
        return self.networks.named(name).name

    async def _done(self, receive: Receive, work: Callable[[], T]) -> T:
        return await self.worker.run(work, lambda: gone(receive))


def _told(endpoint: Endpoint) -> Endpoint:
    """An endpoint, of which whatever goes wrong is one line."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as refused:
            return _error(refused.status, refused.line, dict(refused.headers))
        except GoneError:
            return Response(status_code=499)  # nobody reads it
        except RelpropError as error:
            return _error(422, str(error))
        except Exception as error:  # noqa: BLE001 - the server goes on, and says what it was
            if out_of_memory(error):
                return _error(503, no_memory(error))
            traceback.print_exception(error, file=sys.stderr)
            return _error(500, f"relprop failed here ({type(error).__name__}: {error}); its terminal has more")

    return answered


async def _nothing_there(request: Request, error: Exception) -> Response:
    """The answer to an address that there is not, or that is not asked so."""
    status = int(getattr(error, "status_code", 404))
    allowed = dict(getattr(error, "headers", None) or {})
    what = "nothing is at" if status == 404 else f"{shown(request.method)} is not for"
    return _error(status, f"{what} {shown(request.url.path)}; the page is at /", allowed)


def _json(found: Any) -> Response:
    return Response(json.dumps(found, allow_nan=False).encode(), media_type="application/json")


def _error(status: int, line: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"error": one_line(line)}).encode()
    return Response(body, status, media_type="application/json", headers=headers)
