"""From an application to a server on this machine's own address."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import webbrowser
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from relprop.support.errors import RelpropError
from relprop.web.app import Served
from relprop.web.guard import Guard

ADDRESS = "127.0.0.1"
"""Which other machines do not reach."""
CONNECTIONS = 500
"""So many are open at most: fewer than a process may have files."""
REFUSED = 100
"""So many more are told that it is busy."""
TRIED = 100
"""So many ports are looked at for a free one."""


class ServeError(RelpropError):
    """A server that cannot begin; the message says why and what to do."""


class Connection(H11Protocol):
    """A connection that is let go when it asks for nothing: those that do would find all places taken."""

    idle = 10.0
    """Seconds that it may be silent, or in the midst of a request's head; twice as many at most."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and let it go where there are too many to answer even that."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS + REFUSED:
            transport.abort()
        self._look(self)

    def _look(self, before: object) -> None:
        """Let it go if since the last look, when it had got `before`, nothing new was asked."""
        if self.transport.is_closing():
            return
        waits = self.cycle is None or self.cycle.response_complete
        if waits and before is self.cycle:
            self.transport.close()
        else:
            self.loop.call_later(self.idle, self._look, self.cycle if waits else self)


class _Server(uvicorn.Server):
    """One that waits for nobody when it is to end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at once: what is computed is of no use without the page."""
        super().handle_exit(sig, frame)
        self.force_exit = True


def bound(port: int) -> socket.socket:
    """Return a socket that holds a port of this machine.

    Args:
        port: its number; 0: any that is free.

    Raises:
        ServeError: it is taken, or not to be had.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # a port that a server has just left is free
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise ServeError(f"port {port} cannot be had ({error.strerror}){_other(port)}") from None
    return listening


def _other(port: int) -> str:
    """What could be named in a port's place."""
    for other in range(max(port, 1023) + 1, min(max(port, 1023) + TRIED, 1 << 16)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
            try:
                tried.bind((ADDRESS, other))
            except OSError:
                continue
            return f"; the next free one: --port {other}"
    return "; name another, or --port 0 for any that is free"


def serve(served: Served, listening: socket.socket, *, browser: bool) -> None:
    """Serve until Ctrl-C or SIGTERM, either of which ends the process.

    Args:
        served: what is served.
        listening: as `bound` gives it.
        browser: whether the page is opened in the user's browser, where there is one.
    """
    port = listening.getsockname()[1]
    address = f"http://{ADDRESS}:{port}/"
    guard = Guard(served.app(), port, served.page)
    config = uvicorn.Config(
        guard,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=10,
        limit_concurrency=CONNECTIONS,
    )
    print(f"relprop is at {address} (Ctrl-C ends it)", flush=True)  # noqa: T201 - the result
    if browser and _has_screen():
        opening = threading.Timer(0.3, webbrowser.open, (address,))
        opening.daemon = True
        opening.start()
    try:
        _Server(config).run(sockets=[listening])
    except Exception:
        raise
    except BaseException as ended:  # noqa: BLE001 - Ctrl-C and SIGTERM, after which there is nothing left to do
        _end_now(ended)


def _has_screen() -> bool:
    """Whether a browser with windows can be expected; one in the terminal would take it over."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _end_now(ended: BaseException) -> None:
    """End the process as the command line would, at once.

    Python would take seconds to let go of torch, and torch, woken up in the thread that computes, would abort.
    """
    stopped = isinstance(ended, KeyboardInterrupt)
    print("interrupted" if stopped else "terminated", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(130 if stopped else 143)
