"""The page's server: for this machine alone, one page, a clean end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from phys4d.errors import InputError
from phys4d.viewers.server import make_server

PAGE = "<!doctype html><title>Wörld</title>"


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with make_server(PAGE) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: ThreadingHTTPServer, path: str = "/", *, host: str | None = None, method: str = "GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def test_the_page_is_served_to_its_own_names_only(server):
    port = server.server_port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", "127.0.0.1"):
        response, body = ask(server, host=host)
        assert (response.status, body) == (200, PAGE)
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost:80@evil", "", None):
        response, body = ask(server, host=host)
        assert response.status == 403
        assert PAGE not in body


def test_nothing_but_the_page(server):
    for path in ("/index.html", "/../etc/passwd", "/?x", "/favicon.ico"):
        response, body = ask(server, path, host="localhost")
        assert response.status == 404
        assert PAGE not in body
    response, body = ask(server, host="localhost", method="HEAD")
    assert (response.status, body) == (200, "")
    assert int(response.headers["Content-Length"]) == len(PAGE.encode())
    assert ask(server, host="localhost", method="POST")[0].status == 501


def test_other_machines_cannot_reach_it(server):
    assert server.server_address[0] == "127.0.0.1"
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in (address for address in others if not address.startswith("127.")):
        with pytest.raises(OSError), socket.create_connection((address, server.server_port), timeout=2):
            pass


def test_a_taken_or_impossible_port_is_explained(server):
    with pytest.raises(InputError, match=f"port {server.server_port} is taken; choose another"):
        make_server(PAGE, port=server.server_port)
    with pytest.raises(InputError, match="between 0 and 65535"):
        make_server(PAGE, port=70000)


def test_ctrl_c_ends_without_a_traceback():
    code = "from phys4d.viewers.server import serve; serve('hello', open_browser=False); print('ended')"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        line = process.stdout.readline()
        url = line.split()[0]
        assert urllib.request.urlopen(url, timeout=10).read() == b"hello"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ended" in out
    assert err == ""
