"""The HTTP server of the simulator."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from app.demo import catalogs
from app.demo.faults import encode_json

if TYPE_CHECKING:
    from app.demo.simulator import Simulator

CONTROL = "/_control"
TOKEN_HEADER = "X-Demo-Token"  # noqa: S105  # a header name
_MAX_ORDER_BYTES = 4_096


class SimulatorServer(ThreadingHTTPServer):
    """Daemon threads, a long accept queue, and a way to close open connections."""

    daemon_threads = True
    request_queue_size = 128
    timeout = 1.0  # checks at this interval for `end`, if its wake-up connection fails

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        self.simulator = simulator
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._is_ending = False
        super().__init__(address, _SimulatorHandler)

    def serve(self) -> None:
        """Serve until `end`. (`serve_forever` polls, so shutting it down waits for the next poll.)"""
        while not self._is_ending:
            self.handle_request()

    def end(self) -> None:
        self._is_ending = True
        with socket.socket() as probe, contextlib.suppress(OSError):  # wakes `handle_request`
            probe.connect(("127.0.0.1", self.server_address[1]))

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self._is_ending

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own does a DNS lookup

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close kept-alive connections, which wakes the threads that wait on them."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: clients are right to hang up on a hostile response."""


class _SimulatorHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    server: SimulatorServer

    def do_GET(self) -> None:
        if self.path.startswith(catalogs.PATH):
            self.server.simulator.catalogs.answer(self, self.path.removeprefix(catalogs.PATH))
        elif self.path != CONTROL:
            self.server.simulator.answer(self)
        elif self._may_steer():
            _send_json(self, 200, self.server.simulator.state())

    def do_POST(self) -> None:
        body = self._body()
        if self.path != CONTROL:
            send_error(self, 405, "Only GET is served here.")
        elif self._may_steer():
            self._steer(body)

    def _steer(self, body: bytes) -> None:
        try:
            error = self.server.simulator.apply_order(json.loads(body))
        except ValueError:
            error = "The order is not valid JSON."
        if error:
            send_error(self, 400, error)
        else:
            _send_json(self, 200, self.server.simulator.state())

    def _may_steer(self) -> bool:
        is_allowed = self.server.simulator.accepts_token(self.headers.get(TOKEN_HEADER))
        if not is_allowed:
            send_error(self, 404, "There is nothing at this path.")
        return is_allowed

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > _MAX_ORDER_BYTES:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def log_message(self, *_: Any) -> None:
        """Silent: `Simulator.requests` records them."""


def send_error(handler: BaseHTTPRequestHandler, status: int, message: str) -> None:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    _send_json(handler, status, body)


def _send_json(handler: BaseHTTPRequestHandler, status: int, value: object) -> None:
    body = encode_json(value)
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
