"""A page in a real browser speaks every pattern with our sockets, over WebSocket, by the module that ships with the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import pytest

import nnqpy
from tests.kit.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)

PATIENCE: Final = 60.0
HERE: Final = Path(__file__).resolve().parent
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")


class Desk(SimpleHTTPRequestHandler):
    """Hands out the page and the module, and takes the page's last word."""

    said: Queue[str]

    def do_GET(self) -> None:  # the base class's name
        """Answer one request."""
        if self.path.startswith("/end?"):
            self.said.put(unquote(self.path.partition("?")[2]))
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # likewise
        """Say nothing."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[str, Queue[str]]]:
    """Serve the page beside the module; the URL, and what the page says in the end."""
    for file in (HERE / "page.html", Path(nnqpy.__file__).parent / "web" / "sp.js"):
        shutil.copy(file, tmp_path)
    said: Queue[str] = Queue()
    kind = type("DeskOfThisTest", (Desk,), {"said": said})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=tmp_path))
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", said
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_page_speaks_every_pattern(desk: tuple[str, Queue[str]], tmp_path: Path) -> None:
    """Seven sockets share one port; the page dials each by its path, and says what went wrong, if anything."""
    home, said = desk
    with ExitStack() as stack:

        def bound(kind: type[Any], name: str, url: str, **options: Any) -> Any:
            sock = stack.enter_context(kind(ws_origins=[home], **options))
            return sock, sock.bind(f"{url}/{name}").url

        rep, url = bound(nnqpy.Rep, "rep", "ws://127.0.0.1:0")
        base = url.rpartition("/")[0]
        req, _ = bound(nnqpy.Req, "req", base)
        sub, _ = bound(nnqpy.Sub, "sub", base, subscribe="")
        push, _ = bound(nnqpy.Push, "push", base)
        pull, _ = bound(nnqpy.Pull, "pull", base)
        pair, _ = bound(nnqpy.Pair, "pair", base)
        pub, _ = bound(nnqpy.Pub, "pub", base)
        page = stack.enter_context(
            subprocess.Popen(
                [
                    program(*BROWSERS),
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                    f"--user-data-dir={tmp_path / 'profile'}",
                    f"{home}/page.html?base={base.removeprefix('ws://')}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "HOME": str(tmp_path)},
            )
        )
        stack.callback(page.kill)

        assert rep.recv(timeout=PATIENCE) == b"hello"
        rep.send(b"world")
        assert req.request(b"ask", timeout=PATIENCE) == b"ask!"
        assert sub.recv(timeout=PATIENCE) == b"published"
        push.send_many(b"%d" % n for n in range(1000))
        assert pull.recv(timeout=PATIENCE) == b"1000"
        assert pair.recv(timeout=PATIENCE) == b"from page"
        pair.send(b"to page")
        pub.wait_for_peers(1, PATIENCE)
        pub.send(b"sports")
        pub.send(b"weather")

        assert said.get(timeout=PATIENCE) == "passed"
