"""A page on this machine's own address, for a browser on this machine."""

from __future__ import annotations

import errno
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from phys4d.errors import InputError

ADDRESS = "127.0.0.1"
"""The loopback address: other machines cannot reach it."""
OWN_NAMES = ("127.0.0.1", "localhost")
"""Host names under which the page answers. Any other is a foreign page that resolved its own name to here."""


def serve(page: str, *, port: int = 0, open_browser: bool = True) -> None:
    """Serve one page on 127.0.0.1 until Ctrl-C; prints its address.

    port: 0 takes any free one. Raises InputError for a port that is taken or not allowed.
    """
    with make_server(page, port=port) as server:
        url = f"http://{ADDRESS}:{server.server_port}/"
        print(f"{url}  (Ctrl-C ends)", flush=True)
        if open_browser:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def make_server(page: str, *, port: int = 0) -> ThreadingHTTPServer:
    """The server of `serve`, bound and not yet running; the caller runs and closes it."""
    if not 0 <= port <= 65535:
        raise InputError(f"port must lie between 0 and 65535, not {port}")
    body = page.encode()

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            if not _is_own(self.headers.get("Host", "")):
                self.send_error(HTTPStatus.FORBIDDEN, "This page answers to its own address only")
            elif self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("X-Frame-Options", "DENY")
                self.send_header("Cross-Origin-Resource-Policy", "same-origin")
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The terminal belongs to the address; requests are not its business."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # Two servers on one port would each get some of the requests.
        allow_reuse_port = False

    try:
        return Server((ADDRESS, port), OnePage)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken; choose another, or port 0 for any free one"
        elif error.errno in (errno.EACCES, errno.EPERM):
            reason = f"port {port} is not allowed to you; choose one above 1023, or port 0 for any free one"
        else:
            raise
        raise InputError(reason) from error


def _is_own(host: str) -> bool:
    name, _, port = host.partition(":")
    return name.lower() in OWN_NAMES and (not port or port.isdigit())
