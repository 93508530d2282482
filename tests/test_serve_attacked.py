"""The page under attack, in a process of its own: it answers everything in a clear line, goes on, and ends at once."""

import json
import os
import signal
import subprocess

import pytest
from scripts.attack_page import MIB, PATIENCE, attack, honest_answer, served


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_whatever_is_sent_is_answered_and_ctrl_c_ends_it_while_it_computes():
    with served(stderr=subprocess.PIPE) as server:
        told, memory = attack(server, number=30, together=40, floods_of=1)
        assert not told.wrong
        assert {kind for kind, counts in told.counts.items() if 200 in counts} >= {"frames", "turned", "at once"}
        assert sum(told.counts["at once"].values()) == 40
        if memory["before"]:  # Linux
            assert memory["after"] < memory["before"] + 300 * MIB
            assert memory["peak"] < memory["before"] + 900 * MIB  # one picture of 40 million pixels takes most of it
        with at_work(server):
            server.process.send_signal(signal.SIGINT)
            _, error = server.process.communicate(timeout=PATIENCE)
    assert server.process.returncode == 130
    assert error.splitlines()[-1] == "interrupted"
    assert "Traceback" not in error


def at_work(server):
    """A connection whose question takes the server long."""
    asked = {"network": "digits-deep", "picture": honest_answer(server)["picture"]}
    body = json.dumps(asked | {"targets": list(range(10)), "methods": ["smoothgrad:samples=64"]}).encode()
    head = f"POST /api/explain HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = server.connected()
    connection.sendall(head.encode() + body)
    connection.settimeout(0.5)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    return connection
