"""A small model server: streams words at a set speed, which all who are served share. Standard library alone.

It stands where yours will: a program that loads for a while, says so in its log, answers /health once it can, and
streams. Environment: MODEL_PORT (18000), MODEL_LOAD_SECONDS (5), TOKENS_PER_SECOND (200, of all requests together).
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ("the", "tide", "rises", "and", "the", "tide", "falls")
MOST_TOKENS = 100_000
MOST_BYTES = 1_000_000

loaded = threading.Event()
serving = 0
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """GET /health; POST /generate {"prompt": TEXT, "max_tokens": NUMBER}, answered by events, a token each.

    With `"stream": false` all of them come at once, after as long.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say whether the model is loaded."""
        self._answer(200 if self.path == "/health" and loaded.is_set() else 503, {"loaded": loaded.is_set()})

    def do_POST(self) -> None:
        """Stream."""
        global serving
        try:
            length = int(self.headers.get("Content-Length", ""))
            asked = json.loads(self.rfile.read(length)) if 0 < length <= MOST_BYTES else {}
            tokens, streams = int(asked.get("max_tokens", 100)), asked.get("stream") is not False
        except (AttributeError, TypeError, ValueError, OverflowError):
            tokens, streams = 0, False
        if self.path != "/generate" or not 0 < tokens <= MOST_TOKENS:
            self._answer(400, {"error": f"POST /generate takes max_tokens from 1 to {MOST_TOKENS}"})
            return
        if not loaded.is_set():
            self._answer(503, {"error": "the model is not loaded yet"})
            return
        with lock:
            serving += 1
        try:
            if streams:
                self._stream(tokens)
            else:
                self._answer(200, {"tokens": list(told(tokens))})
        except OSError:
            # Whoever asked has left.
            self.close_connection = True
        finally:
            with lock:
                serving -= 1

    def _stream(self, tokens: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in told(tokens):
            event = b"data: " + json.dumps({"token": word}).encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, said: dict[str, object]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line for each request is a worker's log full of prompts."""


def told(tokens: int) -> Iterator[str]:
    """Each token when it is its turn."""
    for number in range(tokens):
        time.sleep(serving / SPEED)
        yield WORDS[number % len(WORDS)]


SPEED = float(os.environ.get("TOKENS_PER_SECOND", "200"))

if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("MODEL_PORT", "18000"))), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    time.sleep(float(os.environ.get("MODEL_LOAD_SECONDS", "5")))
    loaded.set()
    print("model loaded", flush=True)
    threading.Event().wait()
