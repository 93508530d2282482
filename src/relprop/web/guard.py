"""Who may ask: this machine's own page, and programs on it, but no other site that a browser has open.

The address is 127.0.0.1, which other machines do not reach; but every page in this machine's browser does. So a
request is answered only if

- it asks for 127.0.0.1 or localhost with our port: a name of somebody's own that was pointed at 127.0.0.1 (DNS
  rebinding) is another Host;
- where it says which page it comes from (Origin, Sec-Fetch-Site; browsers say it of every POST), that is ours.

What is refused is refused before anything of it is looked at, and every answer says in its headers that it is for
nobody else. A body that nobody reads is let run out first, without being kept: a browser that is cut off in the midst
of sending tells its user nothing of the answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from relprop.plots.viewer.viewer import content_hash
from relprop.web.bodies import Message, Receive, Scope, Send
from relprop.web.refused import Refused, shown

App = Callable[[Scope, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost")
OURS = ("same-origin", "none")
"""Of Sec-Fetch-Site; same-site is another port of this machine, which may be anybody's."""
READING = ("GET", "HEAD")
RUN_OUT_BYTES = 512 * 10**6
RUN_OUT_SECONDS = 20.0
"""So much of a body that is not wanted is let run out."""


def policy(page: str) -> str:
    """What a page may do: run its own scripts and styles and ask us, nothing else.

    Args:
        page: its HTML; scripts and styles in it are known by their hashes.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(page, 'script')}",
            f"style-src {_hashes(page, 'style')}",
            "img-src data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(page: str, tag: str) -> str:
    """What is in each element of a kind, by its hash, as a policy names it."""
    found = re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", page, re.DOTALL)
    return " ".join(f"'{content_hash(text)}'" for text in found) or "'none'"


class Guard:
    """An application that stands before another.

    Args:
        app: what is guarded.
        port: ours.
        page: the HTML that the application serves, whose scripts may run.
    """

    def __init__(self, app: App, port: int, page: str) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
        self.headers = [
            (b"content-security-policy", policy(page).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # nothing here speaks by WebSocket
        body = _Body(receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.run_out()
                message["headers"] = [*message.get("headers", ()), *self.headers]
                if not body.ended:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            self.demand_ours(scope)
        except Refused as refused:
            await _said(refused, answer)
        else:
            await self.app(scope, body.receive, answer)

    def demand_ours(self, scope: Scope) -> None:
        """Refuse what another site may have sent.

        Raises:
            Refused: so it is.
        """
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            said.setdefault(name.lower(), []).append(value.decode("latin-1").strip().lower())
        host = said.get(b"host", [])
        if len(host) != 1 or host[0] not in self.hosts:
            raise Refused(
                421, f"the page is at http://{min(self.hosts)}/ alone, not at {shown(host[0] if host else 'no host')}"
            )
        for origin in said.get(b"origin", []):
            if origin.removeprefix("http://") not in self.hosts or not origin.startswith("http://"):
                raise Refused(403, f"a page of {shown(origin)} asks, and only this server's own page may; open that")
        for site in said.get(b"sec-fetch-site", []):
            if site not in OURS and not _opens_the_page(scope, said):
                raise Refused(403, f"a page of another site asks ({shown(site)}), and only our own may; open that")


def _opens_the_page(scope: Scope, said: dict[bytes, list[str]]) -> bool:
    """Whether a request is a link to the page that somebody has followed."""
    return (
        scope["path"] == "/"
        and scope["method"] in READING
        and said.get(b"sec-fetch-mode") == ["navigate"]
        and said.get(b"sec-fetch-dest") == ["document"]
    )


class _Body:
    """What comes with a request, and whether all of it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self.ended = True
        return message

    async def run_out(self) -> None:
        """Let what is left come, and forget it."""
        size, until = 0, time.monotonic() + RUN_OUT_SECONDS
        with suppress(TimeoutError):
            while not self.ended and size < RUN_OUT_BYTES:
                async with asyncio.timeout(max(until - time.monotonic(), 0)):
                    size += len((await self.receive()).get("body", b""))


async def _said(refused: Refused, send: Send) -> None:
    """Answer with a line."""
    body = json.dumps({"error": refused.line}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
