"""ONNX Runtime Web: WebAssembly in a headless browser, served from this machine to itself."""

import atexit
import functools
import http.server
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from dlapp.errors import NotInstalled
from dlapp.exporting.runtimes import NODE_MODULES, Place, Runtime
from dlapp.exporting.runtimes.exchange import Exchange, installed_version

_PACKAGE = "onnxruntime-web"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_START_S = 60
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # which root, and many containers, cannot have
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def load(place: Place) -> Runtime:
    """A page that takes requests, in a browser that ends with this process."""
    installed_version(_PACKAGE)
    browser = _browser()
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    answers: queue.Queue[dict[str, Any]] = queue.Queue()
    files: dict[str, bytes] = {}
    handler = functools.partial(_Handler, files, requests, answers)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    profile = tempfile.mkdtemp(prefix="dlapp-browser-")
    url = f"http://127.0.0.1:{server.server_port}/page.html?threads={place.threads}"
    process = subprocess.Popen(
        [browser, *_OPTIONS, f"--user-data-dir={profile}", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    atexit.register(_end, process, profile)

    def receive(timeout_s: float | None = None) -> dict[str, Any]:
        waited = 0.0
        while True:
            try:
                return answers.get(timeout=1)
            except queue.Empty:
                waited += 1
            if process.poll() is not None:
                raise RuntimeError(f"{browser} ended with status {process.returncode}")
            if timeout_s is not None and waited > timeout_s:
                raise RuntimeError(f"{browser} did not open the page within {timeout_s:.0f} s")

    receive(_START_S)  # the page says that it is there

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if "open" in request:
            files[request["open"]] = Path(request["path"]).read_bytes()
        requests.put(request)
        return receive()

    return Exchange(place, ask).runtime()


def version() -> str:
    """Of the package, where there is a browser to run it."""
    _browser()
    return installed_version(_PACKAGE)


def _browser() -> str:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise NotInstalled("a browser is missing (Chromium or Chrome)")
    return found


class _Handler(http.server.BaseHTTPRequestHandler):
    """The page, ONNX Runtime's files and the bundle's, and the exchange of requests and answers."""

    def __init__(self, files: dict[str, bytes], requests: queue.Queue, answers: queue.Queue, *args: Any) -> None:
        self._files, self._requests, self._answers = files, requests, answers
        super().__init__(*args)

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/")
        if name in ("page.html", "runner.mjs"):
            path = Path(__file__).with_name(name)
        elif name.startswith("ort/"):
            path = NODE_MODULES / _PACKAGE / "dist" / Path(name).name
        elif name in self._files:
            self._send(self._files[name], "application/octet-stream")
            return
        else:
            path = Path()
        if not path.is_file():
            self.send_error(404)
            return
        self._send(path.read_bytes(), _TYPES.get(path.suffix, "application/octet-stream"))

    def do_POST(self) -> None:
        self._answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send(json.dumps(self._requests.get()).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        # without both a page gets no memory that threads share
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is for the table."""


_TYPES = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}


def _end(process: subprocess.Popen, profile: str) -> None:
    process.kill()
    process.wait()
    shutil.rmtree(profile, ignore_errors=True)
