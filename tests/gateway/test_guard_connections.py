"""Connections that never finish the head of a request, against a real server of gradio's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import gradio as gr
import pytest
from gradio_client import Client

from seg_demo.gateway.guard import bound_heads

SECONDS = 0.6
GET = b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a page behind the bound."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Markdown("here")
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    bound_heads(page.server, SECONDS)
    yield page.server_port
    page.close()


def until_closed(connection: socket.socket, drip: bytes = b"") -> float:
    """Seconds until the server closes; meanwhile bytes are sent, one every tenth of a second."""
    began = time.monotonic()
    connection.settimeout(0.1)
    for index in range(100):
        try:
            if drip and index < len(drip):
                connection.sendall(drip[index : index + 1])
            if connection.recv(65536) == b"":
                return time.monotonic() - began
        except TimeoutError:
            continue
        except (ConnectionError, BrokenPipeError):
            return time.monotonic() - began
    return float("inf")


def answered(connection: socket.socket, request: bytes = GET) -> bytes:
    """The status line of an answer that is read to its end."""
    connection.settimeout(5)
    connection.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")))
    while len(body) < length:
        body += connection.recv(65536)
    return head.split(b"\r\n")[0]


@pytest.mark.parametrize("drip", [b"", b"GET / HTTP/1.1\r\nHost: a-very-slow-one.example\r\nX-Patience: " + b"a" * 200])
def test_a_silent_or_dripping_connection_is_closed(port: int, drip: bytes) -> None:
    """Bytes that trickle in do not prolong it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert SECONDS * 0.8 < until_closed(connection, drip) < SECONDS + 4


def test_a_second_head_is_bounded_too(port: int) -> None:
    """After a request that was answered."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert answered(connection) == b"HTTP/1.1 200 OK"
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert until_closed(connection, b"X-Slow: " + b"a" * 200) < SECONDS + 4


def test_whoever_asks_is_answered(port: int) -> None:
    """Also on a connection that rests between two requests, which uvicorn's own keep-alive bounds."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(3):
            assert answered(connection) == b"HTTP/1.1 200 OK"
            time.sleep(SECONDS * 1.5)


def test_an_answer_that_takes_long_is_not_cut_off() -> None:
    """A stream that goes on for longer than a head may take, as results that are waited for do."""

    def slow():
        for step in range(4):
            time.sleep(SECONDS / 2)
            yield step

    with gr.Blocks(analytics_enabled=False) as page:
        shown = gr.Number()
        page.load(slow, None, shown, api_name="slow")
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        bound_heads(page.server, SECONDS)
        assert Client(page.local_url, verbose=False).submit(api_name="/slow").result(timeout=30) == 3
    finally:
        page.close()
