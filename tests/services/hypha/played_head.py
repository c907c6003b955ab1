"""A played Ray head: what its job API answers, in memory or over HTTP, and how often each entrypoint was begun.

Source: measured on Ray 2.60.0.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Json = dict[str, Any]
JOB = re.compile(r"/api/jobs/([\w-]+)(/stop)?")
LOG = re.compile(r"node_id=node-1&filename=job-driver-([\w-]+)\.log&lines=(-1|1000)")


@dataclass
class PlayedHead:
    """One head's process."""

    session: str = "session_1"
    jobs: dict[str, Json] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    """Ids of jobs, as often as they were begun."""
    printed: dict[str, str] = field(default_factory=dict)
    answers: bool = True
    refuses: str = ""
    """What it says to every job that is handed over; empty: it takes them."""
    ends_at_once: bool = False
    logs_status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)

    def restart(self) -> None:
        """End it and start another one, which knows of nothing."""
        self.session, self.jobs = f"{self.session}+", {}

    def end(self, job_id: str, status: str = "SUCCEEDED", printed: str = "done\n", message: str = "") -> None:
        """Let a job end."""
        self.jobs[job_id] |= {"status": status, "message": message}
        self.printed[job_id] = printed

    @property
    def running(self) -> list[str]:
        """Ids of the jobs that have not ended."""
        return [job for job, said in self.jobs.items() if said["status"] in ("PENDING", "RUNNING")]

    def answer(self, method: str, path: str, body: Any, query: str = "") -> tuple[int, Any]:
        """Status, and what is said: JSON, or text."""
        if path == "/api/v0/logs/file":
            return self._log(query)
        self.asked.append((method, path))
        if path == "/api/version":
            return 200, {"session_name": self.session, "ray_version": "2.60.0"}
        if path == "/api/jobs/" and method == "POST":
            return self._take(body)
        if path == "/api/cluster_status":
            return 200, {"data": {"clusterStatus": None}}
        if (found := JOB.fullmatch(path)) is None:
            return 404, "404: Not Found"
        job, what = found[1], found[2]
        if job not in self.jobs:
            return 404, f"Job {job} does not exist"
        if what == "/stop":
            is_running = job in self.running
            if is_running:
                self.end(job, "STOPPED", "begun\n")
            return 200, {"stopped": is_running}
        return 200, self.jobs[job]

    def _log(self, query: str) -> tuple[int, Any]:
        found = LOG.fullmatch(query)
        assert found is not None, query
        job = found[1]
        lines = ["2026-11-30 20:09:54,779\tINFO job_manager.py:581 -- Runtime env is setting up.\n"]
        # Before or behind what the job prints: Ray itself says both.
        lines += [f"Running entrypoint for job {job}: {self.jobs[job]['entrypoint']}\n", self.printed.get(job, "")]
        text = "".join(lines)
        return self.logs_status, text if found[2] == "-1" else "".join(text.splitlines(keepends=True)[-1000:])

    def _take(self, body: Json) -> tuple[int, Any]:
        job = body["submission_id"]
        if self.refuses:
            return 500, f"Traceback (most recent call last):\n  File ...\nValueError: {self.refuses}"
        if job in self.jobs:
            return 500, f"Traceback (most recent call last):\nValueError: Job with submission_id {job} already exists."
        self.jobs[job] = {**body, "status": "RUNNING", "message": "Job is currently running."}
        self.jobs[job]["driver_node_id"] = "node-1"
        self.begun.append(job)
        if self.ends_at_once:
            self.end(job, printed=f"{body['entrypoint']}\n")
        return 200, {"submission_id": job}

    def respond(self, request: httpx.Request) -> httpx.Response:
        """The same for a client in this process."""
        if not self.answers:
            raise httpx.ConnectError("nobody listens")
        body = json.loads(request.content) if request.content else None
        status, said = self.answer(request.method, request.url.path, body, request.url.query.decode())
        return httpx.Response(status, text=said) if isinstance(said, str) else httpx.Response(status, json=said)


@contextmanager
def served(head: PlayedHead) -> Iterator[str]:
    """The same over HTTP; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say()

        def do_POST(self) -> None:
            self._say()

        def _say(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            status, said = head.answer(self.command, path, json.loads(raw) if raw else None, query)
            content = (said if isinstance(said, str) else json.dumps(said)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
