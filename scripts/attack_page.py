"""The page of ``relprop serve`` under attack: hostile uploads, tricks with paths, other sites, and all at once.

`python -m scripts.attack_page` starts the server as a user would, and prints what `docs/serve.md` shows: how many of
each kind were answered how, the slowest answer, and the server's memory before, after and at its peak (of Linux). It
ends with 1 where something was not answered as it should be, or a later honest question was not.
"""

# ruff: noqa: INP001, S311, T201 - beside scripts, prints, and nothing of it is secret

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scripts.hostile_pictures import KINDS, honest

MIB = 2**20
PATIENCE = 120
"""Seconds that an answer may take at most; the machine may be busy."""
UPLOAD = "/api/pictures?network=digits-deep"
REFUSED = (400, 403, 404, 405, 413, 415, 421, 422, 429, 503)


@dataclass
class Server:
    """The process under attack."""

    port: int
    process: subprocess.Popen[str]

    def memory(self, which: str = "VmRSS") -> int:
        """Resident memory now, or at its peak (VmHWM), in bytes; 0 where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        found = re.search(rf"{which}:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return int(found[1]) * 1024 if found else 0

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, host: str | None = None
    ) -> tuple[int, bytes]:
        """Ask as no browser would: the path as it is, and any Host."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            chunked = body is not None and not isinstance(body, bytes)
            given = headers or {}
            if body is not None and "Content-Length" not in given:
                given = given | ({"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))})
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(body, encode_chunked=chunked and "Content-Length" not in given)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def connected(self) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def raw(self, sent: bytes) -> bytes:
        """Send bytes, and return what comes back."""
        with self.connected() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def served(stderr: int | None = None) -> Iterator[Server]:
    """A server of its own; `stderr` as of `subprocess.Popen`."""
    command = [sys.executable, "-m", "relprop", "serve", "--no-browser", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:  # noqa: S603 - our own program
        assert process.stdout
        said = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        if found is None:
            raise SystemExit(f"the server did not start: {said}")
        try:
            yield Server(int(found[1]), process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE)


@dataclass
class Told:
    """What came of the attacks: by kind how often which status, a line of each, and what is wrong."""

    counts: dict[str, Counter[int]] = field(default_factory=dict)
    lines: dict[tuple[str, int], str] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(
        self, kind: str, allowed: Sequence[int], ask: Callable[[], tuple[int, bytes]], *, ours: bool = True
    ) -> None:
        """Ask, and judge the answer: one of the statuses allowed, and a line that says why, in our form or another."""
        began = time.monotonic()
        try:
            status, body = ask()
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, repr(error).encode()
        took = time.monotonic() - began
        line = "" if status == 200 else _line(body) if ours else body.decode()
        with self.lock:
            self.counts.setdefault(kind, Counter())[status] += 1
            self.lines.setdefault((kind, status), line)
            self.slowest[kind] = max(took, self.slowest.get(kind, 0))
            if status not in allowed or (status != 200 and not line):
                self.wrong.append(f"{kind}: {status} {body[:200]!r}")


def _line(body: bytes) -> str:
    """The one line of an answer that is none; "" where it has no such line."""
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return found if isinstance(found, str) and found.strip() and "\n" not in found and len(found) <= 600 else ""


def uploads(server: Server, told: Told, number: int, seed: int, at_once: int = 4) -> None:
    """Hostile pictures, some at a time."""
    names = [name for name, (_, _, share) in KINDS.items() for _ in range(max(1, round(share * number / 100)))]
    random.Random(seed).shuffle(names)

    def send(k: int) -> None:
        make, allowed, _ = KINDS[names[k]]
        data = make(random.Random(seed * 10**6 + k))
        told.note(names[k], (*allowed, 429), partial(server.ask, "POST", UPLOAD, data))

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(send, range(len(names))))


def floods(server: Server, told: Told, megabytes: int, number: int) -> None:
    """Bodies beyond the limit: with their size, without it, and with another than they have."""
    piece = random.Random(0).randbytes(MIB)
    for _ in range(number):
        for headers in ({"Content-Length": str(megabytes * MIB)}, {}):
            body = (piece for _ in range(megabytes))
            told.note(f"{megabytes} MB", (413,), partial(server.ask, "POST", UPLOAD, body, headers))
    for size in ("-1", "1e9", "9" * 30):
        stated = {"Content-Length": size}
        ask = partial(server.ask, "POST", "/api/explain", b"{}", stated)
        told.note("size that is none", (400, 413), ask, ours=False)  # the web server's own words


def paths(server: Server, told: Told) -> None:
    """Words that would be paths."""
    tricks = (
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "%00",
        "a" * 3000,
    )
    tricks += ("....//....//etc/passwd", "C:%5Cwindows%5Cwin.ini", "file:///etc/passwd", "%252e%252e%252f", "~root")
    for trick in tricks:
        for method, path in (
            ("GET", f"/{trick}"),
            ("GET", f"/api/pictures/{trick}?network=digits-deep"),
            ("POST", f"/api/samples/{trick}?network=digits-deep"),
            ("POST", f"/api/samples/digits?network={trick}"),
            ("POST", f"/api/study/pictures/{trick}?network=digits-deep"),
            ("GET", f"/api/study/rows?method={trick}"),
            ("POST", f"/api/figure?format={trick}"),
        ):
            told.note("path", REFUSED, partial(server.ask, method, path, b""))


def questions(server: Server, told: Told, picture: str) -> None:
    """Questions that are none."""
    good: dict[str, Any] = {"network": "digits-deep", "picture": picture, "targets": [7], "methods": ["lrp-z"]}
    changes: tuple[dict[str, Any], ...] = (
        {"network": "resnet50"}, {"network": "hf:/etc"}, {"network": "os:system"}, {"network": 7}, {"network": None},
        {"picture": "0" * 64}, {"picture": "../x"}, {"picture": [1]}, {"picture": picture.upper()},
        {"targets": []}, {"targets": list(range(10**4))}, {"targets": [10**30]}, {"targets": [-1]}, {"targets": [True]},
        {"targets": "7"}, {"targets": [7.5]}, {"targets": [{"a": 1}]}, {"targets": ["ninety"]}, {"targets": ["\ud800"]},
        {"methods": []}, {"methods": ["lrp-zz"]}, {"methods": ["os:system"]}, {"methods": ["lrp-z"] * 10**4},
        {"methods": ["pattern-attribution:patterns=/etc/passwd"]}, {"methods": ["cmp-alpha1:head=/etc/x.toml"]},
        {"methods": ["smoothgrad:samples=1000000000"]}, {"methods": ["integrated-gradients:steps=99999999"]},
        {"methods": ["a" * 10**4]}, {"methods": [None]}, {"methods": ["x.toml"]}, {"text": "0" * 64, "picture": None},
    )  # fmt: skip
    for change in changes:
        body = json.dumps(good | change).encode()
        told.note("question", REFUSED, partial(server.ask, "POST", "/api/explain", body))
    for body in (b"", b"[", b"[" * 50_000, b"\xff\xfe", b"null", b'{"a":' * 9000, b'{"targets":' + b"9" * 9000 + b"}"):
        for path in ("/api/explain", "/api/texts", "/api/figure"):
            told.note("question", REFUSED, partial(server.ask, "POST", path, body))


def sites(server: Server, told: Told, picture: str) -> None:
    """Other pages in the same browser, and names that were pointed here."""
    good = {"network": "digits-deep", "picture": picture, "targets": [7], "methods": ["lrp-z"]}
    body, port = json.dumps(good).encode(), server.port
    here = f"127.0.0.1:{port}"
    for origin in (
        "http://evil.example",
        "null",
        f"https://{here}",
        "http://127.0.0.1:1",
        f"http://{here}.evil.example",
    ):
        told.note("origin", (403,), partial(server.ask, "POST", "/api/explain", body, {"Origin": origin}))
    for site in ("cross-site", "same-site", "nonsense"):
        for method, path in (("POST", "/api/explain"), ("GET", "/api/networks"), ("GET", "/")):
            told.note("site", (403,), partial(server.ask, method, path, body, {"Sec-Fetch-Site": site}))
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", "127.0.0.1", f"{here}@evil.example"):
        told.note("host", (421,), partial(server.ask, "POST", "/api/explain", body, host=host))


def garbage(server: Server, told: Told) -> None:
    """What is no HTTP: it must not matter; what comes back is the web server's own."""
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000,
        b"\x00" * 999,
    ):
        began = time.monotonic()
        with suppress(OSError):
            server.raw(sent)
        told.slowest["no HTTP"] = max(time.monotonic() - began, told.slowest.get("no HTTP", 0))
        told.counts.setdefault("no HTTP", Counter())[0] += 1


def hang_up(server: Server, number: int) -> None:
    """Clients that ask for much and go at once."""
    body = json.dumps({"network": "digits-deep", "text": "x"}).encode()
    head = f"POST /api/samples/digits HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(number):
        with server.connected() as connection:
            connection.sendall(head.encode() + body)


def at_once(server: Server, told: Told, number: int, picture: str) -> None:
    """Honest questions and uploads, all at the same moment: some are answered, the others told to come again."""
    good = {"network": "digits-deep", "picture": picture, "targets": [7, 6], "methods": ["lrp-z", "cmp-alpha2-flat"]}
    body, gate = json.dumps(good).encode(), threading.Barrier(number)

    def one(k: int) -> None:
        gate.wait()
        if k % 2:
            ask = partial(server.ask, "POST", "/api/explain", body)
        else:
            ask = partial(server.ask, "POST", UPLOAD, honest(random.Random(k)))
        told.note("at once", (200, 429, 503), ask)

    threads = [threading.Thread(target=one, args=(k,)) for k in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def attack(server: Server, number: int, together: int, floods_of: int, seed: int = 0) -> tuple[Told, dict[str, int]]:
    """Everything; what came of it, and the server's memory in bytes."""
    told = Told()
    first = honest_answer(server)
    memory = {"before": server.memory()}
    picture = first["picture"]
    uploads(server, told, number, seed)
    floods(server, told, 100, floods_of)
    picture = honest_answer(server)["picture"]
    paths(server, told)
    questions(server, told, picture)
    sites(server, told, picture)
    garbage(server, told)
    hang_up(server, 30)
    at_once(server, told, together, picture)
    if honest_answer(server) != first:
        told.wrong.append("an honest question is answered otherwise than before")
    return told, memory | {"after": server.memory(), "peak": server.memory("VmHWM")}


def honest_answer(server: Server) -> dict[str, Any]:
    """What the server says of its own sample; it may be busy for a while."""
    for _ in range(PATIENCE):
        status, body = server.ask("POST", "/api/samples/digits?network=digits-deep", b"")
        if status == 200:
            found: dict[str, Any] = json.loads(body)
            return found
        time.sleep(1)
    raise SystemExit(f"the server does not answer any more: {status} {body[:200]!r}")


def main() -> None:
    """Attack, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=1000, help="hostile pictures (1 to 10000)")
    parser.add_argument("--together", type=int, default=200, help="questions at the same moment (1 to 1000)")
    given = parser.parse_args()
    began = time.monotonic()
    with served() as server:
        told, memory = attack(server, min(given.uploads, 10_000), min(given.together, 1000), floods_of=5)
    for kind, counts in told.counts.items():
        print(f"{kind:18} {sum(counts.values()):5}  slowest {told.slowest[kind]:6.2f} s")
        for status, count in sorted(counts.items()):
            print(f"{'':18} {count:5}  {status}  {told.lines.get((kind, status), '')}")
    print(", ".join(f"{when} {size / MIB:.0f} MiB" for when, size in memory.items()), "of resident memory")
    print(f"{time.monotonic() - began:.0f} s; {len(told.wrong)} wrong")
    for line in told.wrong[:20]:
        print(line)
    raise SystemExit(bool(told.wrong))


if __name__ == "__main__":
    main()
