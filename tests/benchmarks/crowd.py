"""Browsers at a web server, in a process of their own: `python -m tests.benchmarks.crowd ask|watch …`, asked by JSON.

`ask` has so many clients at once fetch an address over and over, each on its one connection; answers with the seconds
of each request. `pace` sends so many requests a second, whoever is free sends the next, and answers with what came of
them. `watch` holds an event stream for each cookie until its standard input ends; answers with how many
events each has heard.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import Any

import gevent
from gevent import socket

from tests.live import ROOT

_CODINGS = "gzip, deflate, br, zstd"


def start(what: str, **asked: Any) -> subprocess.Popen[str]:
    """Say `communicate()` to it for its answer, which `answer` reads."""
    command = [sys.executable, "-m", "tests.benchmarks.crowd", what, json.dumps(asked)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(crowd: subprocess.Popen[str]) -> Any:
    return json.loads(crowd.communicate()[0])


def ask(port: int, path: str, cookie: str, clients: int, each: int) -> list[float]:
    """Seconds of every request of all clients; the first of each, for which it connects, is left out."""
    took: list[float] = []

    def one() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            _fetched(connection, path, cookie)
            for _ in range(each):
                begun = time.perf_counter()
                _fetched(connection, path, cookie)
                took.append(time.perf_counter() - begun)

    gevent.joinall([gevent.spawn(one) for _ in range(clients)], raise_error=True)
    return took


def pace(port: int, paths: list[str], cookies: list[str], per_s: float, seconds: float, clients: int) -> dict[str, Any]:
    """Each request has its moment; one that is late for want of a free client is sent at once, and takes since then.
    Those that had no turn until the time is over are not sent.

    took: seconds of the requests that were answered with 200, in the order in which they ended; statuses: how many
    answers of each, 0 for none; lasted: seconds from the first request to the last answer.
    """
    took: list[float] = []
    statuses: dict[int, int] = {}
    dice = random.Random(1)  # no secret
    begun, number, most = time.perf_counter(), 0, int(per_s * seconds)

    def one() -> None:
        nonlocal number
        connection = None
        while number < most and time.perf_counter() < begun + seconds:
            due = begun + number / per_s
            number += 1
            gevent.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            try:
                connection = connection or socket.create_connection(("127.0.0.1", port))
                status = _fetch(connection, dice.choice(paths), dice.choice(cookies))
            except (OSError, RuntimeError):
                connection, status = None, 0
            statuses[status] = statuses.get(status, 0) + 1
            if status == 200:
                took.append(time.perf_counter() - sent)

    gevent.joinall([gevent.spawn(one) for _ in range(clients)], raise_error=True)
    return {"took": took, "statuses": statuses, "lasted": time.perf_counter() - begun}


def watch(port: int, path: str, cookies: list[str]) -> list[int]:
    """Events of each stream until nobody wants to know any more."""
    heard = [0] * len(cookies)

    def one(number: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(_request(path, cookies[number]))
            head = connection.recv(65_536)
            if b"text/event-stream" not in head:
                raise RuntimeError(f"no stream: {head[:300]!r}")
            heard[number] += head.count(b"data: <hx-partial")
            while piece := connection.recv(65_536):
                heard[number] += piece.count(b"data: <hx-partial")

    watchers = [gevent.spawn(one, number) for number in range(len(cookies))]
    gevent.get_hub().threadpool.apply(sys.stdin.read)
    gevent.killall(watchers)
    return heard


def _fetched(connection: socket.socket, path: str, cookie: str) -> None:
    if (status := _fetch(connection, path, cookie)) != 200:
        raise RuntimeError(f"{path} answered {status}")


def _fetch(connection: socket.socket, path: str, cookie: str) -> int:
    """The status; the whole answer is read."""
    connection.sendall(_request(path, cookie))
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status in (204, 304):
        return status
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    missing = length - len(body)
    while missing > 0:
        missing -= len(_more(connection))
    return status


def _more(connection: socket.socket) -> bytes:
    got = connection.recv(262_144)
    if not got:
        raise RuntimeError("the server hung up")
    return got


def _request(path: str, cookie: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Accept-Encoding: {_CODINGS}", "Connection: keep-alive"]
    return "\r\n".join([*lines, *([f"Cookie: {cookie}"] if cookie else []), "", ""]).encode()


if __name__ == "__main__":
    json.dump({"ask": ask, "pace": pace, "watch": watch}[sys.argv[1]](**json.loads(sys.argv[2])), sys.stdout)
