"""The HTTP side of the Hub stand-in: connections, injected faults, ranges."""

from __future__ import annotations

import re
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.hub_stand_in_repos import Failure
from tests.hub_stand_in_routes import Answer, Routes

if TYPE_CHECKING:
    from tests.hub_stand_in import HubStandIn


class Server(ThreadingHTTPServer):
    """Threads per connection; closing does not wait for hanging ones."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], hub: HubStandIn) -> None:
        self.hub = hub
        self._open: set[socket.socket] = set()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and remember it."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def drop_all(self) -> None:
        """Close every connection: kept-alive ones would otherwise be answered after the server is gone."""
        for request in list(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests, not news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        hub = self.server.hub
        self.failure: Failure | None = None
        path = urlsplit(self.path).path
        user = hub.users.get(self.headers.get("authorization", "").removeprefix("Bearer "))
        hub.requests.append((self.command, path, user and user.name))
        if hub.hanging:
            hub.closing.wait()
            self._drop()
            return
        failure = hub.next_failure(self.command, path)
        if failure and failure.status is None:
            if failure.after is None or self.command in ("PUT", "POST"):
                # Never more than there is: a read beyond the body would wait for the client, which waits for the answer.
                whole = int(self.headers.get("content-length") or 0)
                received = len(self.rfile.read(min(failure.after or 0, whole)))
                hub.dropped.append((self.command, path, received, whole))
                self._drop()
                return
            self.failure = failure
        body = self.rfile.read(int(self.headers.get("content-length") or 0)) if not self._chunked() else self._read_chunks()
        try:
            if failure and failure.status:
                raise Answer(failure.status, "injected failure", headers=failure.headers)
            if self.headers.get("authorization") and user is None:
                raise Answer(401, "Invalid credentials in Authorization header")
            for before, today in hub.moved.items():
                if f"/{before}/" in f"{path}/":
                    raise Answer(307, "Temporary Redirect", headers={"Location": self.path.replace(f"/{before}", f"/{today}", 1)})
            with hub.lock:
                data, headers = Routes(hub, user).answer(path, parse_qs(urlsplit(self.path).query), body)
            self._send(200, data, headers)
        except Answer as answer:
            self._send(answer.status, answer.body, answer.headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        start, total = 0, len(data)
        if status == 200 and (asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))):
            start, status, whole = int(asked[1]), 206, total
            data = data[: int(asked[2]) + 1] if asked[2] else data
            total = len(data)
            headers = {**headers, "Content-Range": f"bytes {start}-{total - 1}/{whole}"}
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(total - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.failure is not None:
            self.wfile.write(data[start : start + (self.failure.after or 0)])
            self.wfile.flush()
            self._drop()
            return
        self.wfile.write(data[start:])

    def _chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "")

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _drop(self) -> None:
        """Close the connection as if the network had failed."""
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
