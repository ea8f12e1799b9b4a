# SPDX-License-Identifier: Apache-2.0
"""A small stand-in for the Hugging Face hub on the loopback address."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves ``repositories``: repo → path → bytes; notes every request as "METHOD path".

    ``tags`` are the tags of every repository; ``lies`` are paths whose stated checksum is wrong.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.tags: list[str] = []
        self.lies: set[str] = set()
        self.requests: list[str] = []
        self.address = ""


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub for the duration of a block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, data = _respond(hub, self.path)
            begin = 0
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes=") and status == 200:
                begin = int(wanted[6:].split("-")[0])
                headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
                status = 206
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            if body:
                self.wfile.write(data[begin:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _respond(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    path = path.partition("?")[0]
    for repo, files in hub.repositories.items():
        if path.startswith((f"/api/models/{repo}/revision/", f"/api/models/{repo}")):
            if path.endswith(("/revision/gone", "/tree/gone")):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            if "/tree/" in path:
                tree = [
                    {"type": "file", "path": n, "size": len(d), "oid": "0" * 40}
                    for n, d in files.items()
                ]
                return _json(tree)
            facts = {
                "id": repo,
                "modelId": repo,
                "sha": COMMIT,
                "tags": hub.tags,
                "siblings": [{"rfilename": n} for n in files],
            }
            return _json(facts)
        start = f"/{repo}/resolve/"
        if path.startswith(start):
            inside = path.removeprefix(start).partition("/")[2]
            if inside not in files:
                return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
            data = files[inside]
            digest = hashlib.sha256(data).hexdigest()
            if inside in hub.lies:
                digest = "f" * 64
            headers = {
                "ETag": f'"{digest}"',
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{digest}"',
                "Accept-Ranges": "bytes",
            }
            return 200, headers, data
    return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()
