"""A stand-in Kubernetes API server: pods, events, nodes, quotas and namespaces over real HTTP, with faults.

It schedules nothing and runs nothing; `kubernetes_node` plays scheduler and kubelet through the API.
Source: Kubernetes docs, "API Concepts" and "Using RBAC Authorization"; what was seen of a real kube-apiserver.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ebbflow.standins.clock import Clock, RealClock
from ebbflow.standins.kubernetes.faults import Fault, FaultKind, failure, take_fault
from ebbflow.standins.kubernetes.objects import (
    Json,
    Refused,
    checked_pod,
    json_patched,
    matches_fields,
    matches_labels,
    merge_patched,
)
from ebbflow.standins.kubernetes.store import SINGULAR, UNSCOPED, Store
from ebbflow.standins.kubernetes.users import User

__all__ = ["ADMIN_TOKEN", "ApiServer", "Fault", "FaultKind", "User", "kubeconfig"]

ADMIN_TOKEN = "stand-in-admin"
WATCH_SECONDS = 30.0
WATCH_PAUSE_SECONDS = 0.02

LogSource = Callable[[str, str, int | None], bytes | None]
"""What a node has of a container's output, by pod uid and container name, at most so many bytes."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    resource: str
    namespace: str = ""
    name: str = ""
    part: str = ""
    """A subresource: `log`, `status` or `binding`."""

    @property
    def asked_for(self) -> str:
        """As a Role names it."""
        return f"{self.resource}/{self.part}" if self.part else self.resource


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it arrived."""

    method: str
    path: str
    query: str


class ApiServer:
    """The ASGI application, to be served with `sends_date=False`: what time it is, is said by its own clock.

    Args:
        clock: deletion, page tokens and every timestamp are on it.
        epoch: what the clock's zero is in epoch seconds.

    Attributes:
        users: by token.
        faults: switched on; the oldest that fits strikes.
        log_sources: by node name; a node that is not among them does not answer.
    """

    def __init__(self, *, clock: Clock | None = None, epoch: float = 1_795_000_000.0) -> None:
        self.clock: Clock = clock if clock is not None else RealClock()
        self._zero = epoch - self.clock.now()
        self.store = Store(self.now)
        self.users: dict[str, User] = {ADMIN_TOKEN: User("admin")}
        self.faults: list[Fault] = []
        self.requests: list[Recorded] = []
        self.log_sources: dict[str, LogSource] = {}

    def now(self) -> float:
        """Epoch seconds on the cluster's clock."""
        return self._zero + self.clock.now()

    def count(self, method: str, within: str = "") -> int:
        """How many requests of a method arrived whose address holds a text."""
        return sum(each.method == method and within in f"{each.path}?{each.query}" for each in self.requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI: lifespan and HTTP."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
        elif scope["type"] == "http":
            request = Request(scope, receive)
            response = await self._respond(request)
            response.headers["date"] = formatdate(self.now(), usegmt=True)
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        recorded = Recorded(request.method, request.url.path, request.url.query)
        self.requests.append(recorded)
        fault = take_fault(self.faults, recorded.method, f"{recorded.path}?{recorded.query}")
        if fault is not None and fault.kind is FaultKind.FAIL:
            return failure(fault)
        if fault is not None and fault.kind is FaultKind.HANG:
            await asyncio.Event().wait()
        raw = await request.body()
        try:
            response = self._answer(request, raw)
        except Refused as refused:
            response = JSONResponse(refused.status, refused.code)
        if fault is not None:
            if fault.kind is FaultKind.LOSE_ANSWER:
                await asyncio.Event().wait()
            if fault.kind is FaultKind.FAIL_AFTER:
                return failure(fault)
            await self.clock.sleep(fault.seconds)
        return response

    def _answer(self, request: Request, raw: bytes) -> Response:
        user = self._user(request)
        if request.url.path == "/version":
            return JSONResponse({"major": "1", "minor": "37", "gitVersion": "v1.37.0-stand-in"})
        target = _target(request.url.path)
        if target.resource == "selfsubjectaccessreviews":
            return JSONResponse(_review(user, _object(raw)), 201)
        watches = request.query_params.get("watch") in ("1", "true")
        self._check_rights(user, request.method, target, watches=watches)
        if watches:
            return self._watch(request, target)
        match request.method, target.part:
            case "GET", "log":
                return self._log(request, target)
            case "GET", "" if not target.name:
                return JSONResponse(self._page(request, target))
            case "GET", _:
                return JSONResponse(self.store.get(target.resource, target.namespace, target.name))
            case "POST", "binding":
                self.store.bind(target.namespace, target.name, _object(raw)["target"]["name"])
                return JSONResponse({"kind": "Status", "apiVersion": "v1", "status": "Success"}, 201)
            case "POST", "":
                return JSONResponse(self._create(request, target, _object(raw)), 201)
            case (("PUT" | "PATCH"), _):
                return self._change(request, target, raw)
            case "DELETE", "":
                return JSONResponse(self._delete(request, target, _object(raw) if raw else {}))
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _user(self, request: Request) -> User:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        user = self.users.get(token) if kind == "Bearer" else None
        if user is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        return user

    def _check_rights(self, user: User, method: str, target: Target, *, watches: bool) -> None:
        verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
        verb = verbs.get(method, method.lower())
        if not target.name and verb == "get":
            verb = "watch" if watches else "list"
        if not target.name and verb == "delete":
            verb = "deletecollection"
        if not user.may(verb, target.asked_for, target.namespace):
            where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
            text = f'User "{user.name}" cannot {verb} resource "{target.asked_for}" in API group ""{where}'
            named = f' "{target.name}"' if target.name else ""
            raise Refused(403, "Forbidden", f"{target.asked_for}{named} is forbidden: {text}")

    def _page(self, request: Request, target: Target) -> Json:
        query = request.query_params
        return self.store.page(
            target.resource,
            target.namespace,
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
            limit=int(query.get("limit", "0")),
            token=query.get("continue", ""),
        )

    def _create(self, request: Request, target: Target, body: Json) -> Json:
        query = request.query_params
        return self.store.create(
            target.resource,
            target.namespace,
            body,
            dry_run=query.get("dryRun") == "All",
            strict=query.get("fieldValidation") == "Strict",
        )

    def _delete(self, request: Request, target: Target, options: Json) -> Json:
        query = request.query_params
        if "gracePeriodSeconds" in query:
            options = {"gracePeriodSeconds": int(query["gracePeriodSeconds"]), **options}
        dry_run = query.get("dryRun") == "All" or options.get("dryRun") == ["All"]
        if target.name:
            return self.store.delete(target.resource, target.namespace, target.name, options, dry_run=dry_run)
        page = self._page(request, target)
        for item in page["items"]:
            self.store.delete(target.resource, target.namespace, item["metadata"]["name"], options, dry_run=dry_run)
        return page

    def _change(self, request: Request, target: Target, raw: bytes) -> Response:
        body = json.loads(raw)
        keep = "" if target.part else "status"
        if request.method == "PUT":
            return JSONResponse(self.store.replace(target.resource, target.namespace, target.name, body, keep=keep))
        kind = request.headers.get("content-type", "").split(";")[0]
        if kind == "application/apply-patch+yaml":
            return self._apply(target, body)
        before = self.store.get(target.resource, target.namespace, target.name)
        if kind == "application/json-patch+json":
            after = json_patched(before, body)
        else:
            after = merge_patched(before, body, strategic="strategic" in kind)
        if target.part == "status":
            after = {**before, "status": after.get("status", {})}
        after["metadata"] = {**after["metadata"]}
        return JSONResponse(self.store.replace(target.resource, target.namespace, target.name, after, keep=keep))

    def _apply(self, target: Target, body: Json) -> Response:
        fields = [
            {"manager": "stand-in", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
        ]
        body["metadata"] = {**body.get("metadata", {}), "name": target.name, "managedFields": fields}
        try:
            before = self.store.get(target.resource, target.namespace, target.name)
        except Refused:
            return JSONResponse(self.store.create(target.resource, target.namespace, body), 201)
        after = merge_patched(before, checked_pod(body, strict=True), strategic=True)
        return JSONResponse(self.store.replace(target.resource, target.namespace, target.name, after, keep="status"))

    def _log(self, request: Request, target: Target) -> Response:
        pod = self.store.get("pods", target.namespace, target.name)
        node, query = pod["spec"].get("nodeName"), request.query_params
        if not node:
            return Response(status_code=204)
        if node not in {each["metadata"]["name"] for each in self.store.all("nodes")}:
            raise Refused(404, "NotFound", f'pods "{node}" not found')
        if node not in self.log_sources:
            raise Refused(500, "InternalError", f"Get https://{node}:10250/containerLogs: connect: connection refused")
        container = query.get("container") or pod["spec"]["containers"][0]["name"]
        lines = int(query["tailLines"]) if "tailLines" in query else None
        text = self.log_sources[node](pod["metadata"]["uid"], container, lines)
        if text is None:
            raise Refused(
                400,
                "BadRequest",
                f'container "{container}" in pod "{target.name}" is waiting to start: ContainerCreating',
            )
        limit = int(query.get("limitBytes", "0"))
        return PlainTextResponse(text[:limit] if limit else text)

    def _watch(self, request: Request, target: Target) -> Response:
        query = request.query_params
        seconds = float(query.get("timeoutSeconds", WATCH_SECONDS))
        since = int(query.get("resourceVersion") or self.store.version)
        lines = self._changes(target, query, since, seconds)
        return StreamingResponse(lines, media_type="application/json")

    async def _changes(
        self, target: Target, query: Mapping[str, str], since: int, seconds: float
    ) -> AsyncIterator[bytes]:
        deadline, sent = self.clock.now() + seconds, since
        while self.clock.now() < deadline:
            for version, kind, item in list(self.store.events):
                fits = matches_labels(item["metadata"].get("labels") or {}, query.get("labelSelector", ""))
                fits = fits and matches_fields(item, query.get("fieldSelector", ""))
                if version > sent and fits and target.namespace in ("", item["metadata"]["namespace"]):
                    yield json.dumps({"type": kind, "object": item}).encode() + b"\n"
            sent = max(sent, self.store.version)
            await self.clock.sleep(WATCH_PAUSE_SECONDS)


def _target(path: str) -> Target:
    """Read `/api/v1/...` and `/apis/<group>/<version>/...`.

    Raises:
        Refused: 404, as for any path that nobody serves.
    """
    parts = [part for part in path.split("/") if part]
    parts = parts[2:] if parts[:1] == ["api"] else parts[3:] if parts[:1] == ["apis"] else []
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    else:
        namespace = ""
    resource, name, part, *rest = [*parts, "", "", ""]
    known = resource in SINGULAR or resource == "selfsubjectaccessreviews"
    if not known or any(rest) or (part and part not in ("log", "status", "binding")):
        raise Refused(404, "NotFound", "the server could not find the requested resource")
    return Target(resource, "" if resource in UNSCOPED else namespace, name, part)


def _review(user: User, body: Json) -> Json:
    asked = body["spec"]["resourceAttributes"]
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource", ""))))
    return {**body, "status": {"allowed": user.may(asked["verb"], resource, asked.get("namespace", ""))}}


def _object(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise Refused(400, "BadRequest", f"the object provided is unrecognized: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "BadRequest", "the object provided is unrecognized")
    return body


def kubeconfig(url: str, *, token: str = ADMIN_TOKEN, namespace: str | None = None) -> str:
    """A kubeconfig for a stand-in, as text."""
    context: Json = {"cluster": "stand-in", "user": "stand-in", **({"namespace": namespace} if namespace else {})}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "stand-in",
            "clusters": [{"name": "stand-in", "cluster": {"server": url}}],
            "contexts": [{"name": "stand-in", "context": context}],
            "users": [{"name": "stand-in", "user": {"token": token}}],
        }
    )
