"""Flower as a way: it carries archives between the exchange folders of sites and coordinator, and decides nothing.

No program travels. A site answers three requests with code that it installed, and never asks Flower for an app; the
coordinator's server is Flower's, in this process, and starts no app either. Each end proves an archive before it
keeps it. Both show certificates of the group, and a site also signs with a key that the coordinator registered.
The only file that imports flwr; it is Apache-2.0, and the extra `flower` has the one minor version that this fits.
"""

import contextlib
import errno
import functools
import hashlib
import importlib
import io
import logging
import os
import secrets
import ssl
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nephroscope.base.errors import GroupError
from nephroscope.base.version import install_line
from nephroscope.federated.carrying import Ask, CoordinatorEnd, Gate, OwnCall, Say, SiteEnd, Visit
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.place import SitePlace
from nephroscope.federated.relay_client import tls_context
from nephroscope.federated.store import Store

PAUSE_S, POLL_S, STALL_S, LOST_S = 2.0, 0.2, 30.0, 120.0
BEAT_S, ALIVE_S = 4.0, 10.0  # Flower holds a node that was killed for alive during twice ALIVE_S
RECORD = "archives"
NOT_NOW = "status 412"  # the key is not known, or the site was killed just now
APP = """[project]
name = "nephroscope-archives"
version = "1"
[tool.flwr.app]
publisher = "nephroscope"
[tool.flwr.app.components]
serverapp = "none:none"
clientapp = "none:none"
"""  # Flower begins a run with a bundle; this one holds no program, and is opened by nobody


def _flwr(name: str) -> Any:
    """A module of flwr, which then tells nobody that it runs."""
    os.environ.update(FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1", FLWR_TRACING_ENABLED="0")
    try:
        module = importlib.import_module(f"flwr.{name}")
    except ImportError as error:
        raise GroupError(
            where="Flower",
            expected="the extra `flower`, in an environment of its own",
            found="none, or a release that this does not fit",
            remedy=f"{install_line('train,federated,flower')}, or use a folder or the relay",
        ) from error
    for logger in ("flwr", "httpx"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    return module


def _no_flower(where: str, remedy: str) -> GroupError:
    expected = "a group whose archives pass through Flower"
    return GroupError(where=where, expected=expected, found="another", remedy=remedy)


# The site


def carry_at_site(place: SitePlace, say: Say, once: bool = False) -> None:
    """Answer the coordinator until interrupted, or with ``once`` until each has what the other sent.

    Raises:
        GroupError: The invitation names no Flower, or flwr is not installed; or, with ``once``, the coordinator
            cannot be reached, or an archive was refused.
    """
    invitation = place.invitation
    if not invitation.flower:
        raise _no_flower(
            f"group {invitation.plan.name}", "ask the coordinator for an invitation with --flower"
        )
    _flwr("app")
    end = SiteEnd(place, Store(invitation.plan, place.exchange, place.folder / "flower"), say)
    place.write_tls()
    until, before = time.monotonic() + 3 * ALIVE_S, ""
    while not (once and end.done):
        try:
            _carry(place, end, once)
        except _transport_errors() as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS):
                raise
            found = _reason(error)
            if once and (found != NOT_NOW or time.monotonic() > until):
                raise GroupError(
                    where=f"Flower at {invitation.flower}",
                    expected="a server that knows the certificate and the key of this site",
                    found=found,
                    remedy="ask the coordinator whether it runs, and run the command again; nothing was changed here",
                ) from error
            if found != before:
                say(f"waiting for Flower at {invitation.flower}: {found}")
            before = found
            time.sleep(PAUSE_S)
    if end.refused:
        where, found = f"Flower at {invitation.flower}", "one that was refused, as was said above"
        remedy = "make it again (--again), or ask the coordinator"
        raise GroupError(
            where=where, expected="archives that the other end takes", found=found, remedy=remedy
        )


def _transport_errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError, ssl.SSLError, OSError, RuntimeError)


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"status {status}" if status else type(error).__name__


def _carry(place: SitePlace, end: SiteEnd, once: bool) -> None:
    """One connection to Flower's fleet, as a node of it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    fleet, auth = _flwr("supernode.fleet_http_client"), _flwr("supernode.node_auth_http_interceptor")
    proto, node_of = _flwr("proto.fleet_pb2"), _flwr("proto.node_pb2").Node
    keys = _flwr("supercore.primitives.asymmetric")
    tls = place.folder / "tls"
    private: Any = load_pem_private_key((tls / "private.pem").read_bytes(), None)
    public = private.public_key()
    http = [
        _flwr("supercore.interceptors").RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        auth.NodeAuthHttpInterceptor(private, public),
    ]
    context = tls_context(tls, "certificate", "private")
    with fleet.FleetHttpClient(
        f"https://{place.invitation.flower}", interceptors=http, verify=context
    ) as client:
        request = proto.ActivateNodeRequest(
            public_key=keys.public_key_to_bytes(public), heartbeat_interval=ALIVE_S
        )
        node = node_of(node_id=client.ActivateNode(request).node_id)
        beat = time.monotonic()
        heartbeat = _flwr("proto.heartbeat_pb2").SendNodeHeartbeatRequest
        with contextlib.ExitStack() as leaving:
            leaving.callback(_leave, client, proto.DeactivateNodeRequest(node_id=node.node_id))
            while not (once and end.done):
                if time.monotonic() - beat > BEAT_S:
                    client.SendNodeHeartbeat(heartbeat(node=node, heartbeat_interval=ALIVE_S))
                    beat = time.monotonic()
                if not _answer_one(client, node, end, proto):
                    time.sleep(POLL_S)


def _leave(client: Any, request: Any) -> None:
    with contextlib.suppress(*_transport_errors()):
        client.DeactivateNode(request)


def _answer_one(client: Any, node: Any, end: SiteEnd, proto: Any) -> bool:
    """Take one message, answer it with code that is installed here; False where there was none."""
    found = client.PullMessages(proto.PullMessagesRequest(node=node))
    if not found.messages_list:
        return False
    app, serde, messages = _flwr("app"), _flwr("common.serde"), _flwr("app.message")
    objects = _flwr("supercore.inflatable.inflatable_object")
    calls = _flwr("supercore.inflatable.inflatable_utils")
    wire = _flwr("supercore.inflatable.inflatable_protobuf_utils")
    run, tree = found.messages_list[0].metadata.run_id, found.message_object_trees[0]
    message = calls.pull_and_inflate_object_from_tree(
        tree,
        wire.make_pull_object_fn_protobuf(client.PullObject, node, run),
        wire.make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run),
        return_type=app.Message,
    )
    message.metadata.__dict__["_message_id"] = tree.object_id
    told = end.answer(_told(message))
    reply = app.Message(app.RecordDict({RECORD: app.ConfigRecord(told)}), reply_to=message)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    with objects.no_object_id_recompute():
        sent = client.PushMessages(
            proto.PushMessagesRequest(
                node=node,
                messages_list=[serde.message_to_proto(messages.remove_content_from_message(reply))],
                message_object_trees=[objects.get_object_tree(reply)],
                clientapp_runtime_list=[0.0],
            )
        )
        push = wire.make_push_object_fn_protobuf(client.PushObject, node, run, sent.session_id)
        calls.push_objects(
            objects.get_all_nested_objects(reply), push, object_ids_to_push=set(sent.objects_to_push)
        )
    return True


# The coordinator


def carry_at_coordinator(
    place: GroupPlace, host: str, port: int, ready: Callable[[int], None], say: Say, stop: threading.Event
) -> None:
    """Serve Flower's fleet to the sites, and exchange archives with each that calls, until told to stop.

    Raises:
        GroupError: The group does not use Flower, flwr is not installed, the address is taken, or Flower would let
            an unknown node in.
    """
    if not place.flower:
        raise _no_flower(f"group {place.plan.name}", "invite a site with --flower HOST:PORT first")
    _flwr("app")
    end = CoordinatorEnd(place, Store(place.plan, place.exchange, place.folder / "flower"), say)
    secret = secrets.token_hex(32)
    with _serving(place, host, port, secret) as at:
        context = tls_context(place.folder / "tls", "coordinator", "coordinator.key")
        context.check_hostname = False  # it calls itself, by the address of this computer
        client = functools.partial(_client, at, context, secret)
        sites = _register(place, client)
        grid = _begin(client, at)
        ready(int(at.rpartition(":")[2]))
        _exchange(grid, sites, end, stop)


@contextlib.contextmanager
def _serving(place: GroupPlace, host: str, port: int, secret: str) -> Iterator[str]:
    """Flower's server in a thread of this process; gives its address here."""
    from nephroscope.federated.relay import tls_server

    app = _flwr("superlink.main").create_app()  # without its program that starts apps
    app.state.enable_supernode_auth = True
    ready, at = threading.Event(), list[int]()

    def listens(found: int) -> None:
        at.append(found)
        ready.set()

    server = tls_server(Gate(app, secret), place.folder / "tls", host, port, listens)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not ready.wait(0.1):
            if not thread.is_alive():
                raise GroupError(
                    where=f"{host}:{port}",
                    expected="an address and a free port of this computer",
                    found="another",
                    remedy="choose another --port",
                )
        yield f"{'127.0.0.1' if host == '0.0.0.0' else host}:{at[0]}"  # noqa: S104
    finally:
        server.should_exit = True
        thread.join(10)


def _client(
    at: str, context: ssl.SSLContext, secret: str, module: str, kind: str, component: str, *more: Any
) -> Any:
    version = _flwr("supercore.interceptors").RuntimeVersionHttpInterceptor(component_name=component)
    marks = [version, OwnCall(secret), *more]
    return getattr(_flwr(module), kind)(f"https://{at}", interceptors=marks, verify=context)


def _register(place: GroupPlace, client: Callable[..., Any]) -> dict[int, str]:
    """Tell Flower the keys of the sites; gives the site of each node, and makes sure that nobody else gets in."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    keys, auth = _flwr("supercore.primitives.asymmetric"), _flwr("supernode.node_auth_http_interceptor")
    stranger = ec.generate_private_key(ec.SECP256R1())
    mark = auth.NodeAuthHttpInterceptor(stranger, stranger.public_key())
    with client("supernode.fleet_http_client", "FleetHttpClient", "SuperNode", mark) as fleet:
        request = _flwr("proto.fleet_pb2").RegisterNodeFleetRequest(
            public_key=keys.public_key_to_bytes(stranger.public_key())
        )
        try:
            fleet.RegisterNode(request)
        except _transport_errors():
            pass
        else:
            raise GroupError(
                where="Flower",
                expected="a server that refuses nodes whose key it was not told",
                found="one that lets everybody in",
                remedy="install the release of flwr that pyproject.toml names",
            )
    found, proto = {}, _flwr("proto.control_pb2")
    with client("supercore.control", "ControlHttpClient", "flwr CLI") as control:
        for invitation in place.invitations():
            public = x509.load_pem_x509_certificate(invitation.certificate.encode()).public_key()
            request = proto.RegisterNodeRequest(public_key=keys.public_key_to_bytes(public))
            found[int(control.RegisterNode(request).node_id)] = invitation.site
    return found


def _begin(client: Callable[..., Any], at: str) -> Any:
    """Begin a run of Flower, and take its task ourselves: gives what sends messages to the sites."""
    control, runtime = _flwr("proto.control_pb2"), _flwr("proto.runtime_pb2")
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as file:
        file.writestr("pyproject.toml", APP)
    digest = hashlib.sha256(bundle.getvalue()).hexdigest()
    fab = _flwr("proto.fab_pb2").Fab(hash_str=digest, content=bundle.getvalue())
    with client("supercore.control", "ControlHttpClient", "flwr CLI") as caller:
        run_id = caller.StartRun(control.StartRunRequest(fab=fab)).run_id
    with client("supercore.runtime", "RuntimeHttpClient", "SuperExec") as caller:
        task = caller.AcquireTask(runtime.AcquireTaskRequest(supported_task_types=["flwr-serverapp"]))
    if task.task.run_id != run_id or not task.token:
        raise GroupError(
            where="Flower",
            expected="the run that was begun here",
            found="another",
            remedy="run the command again",
        )
    token = _flwr("supercore.interceptors").RuntimeTokenHttpInterceptor(token=task.token)
    grid = _flwr("superlink.grid").HttpGrid(at, token=task.token)
    grid._client = client("supercore.runtime", "RuntimeHttpClient", "flwr-serverapp", token)
    given = grid._client.PullTaskInput(runtime.PullTaskInputRequest())
    identity = _flwr("supercore.task_identity").TaskIdentity
    identity.task_id, identity.run_id, identity.node_id = given.task_id, run_id, given.context.node_id
    grid.set_run(_flwr("common.serde").run_from_proto(given.run))
    return grid


def _exchange(grid: Any, sites: Mapping[int, str], end: CoordinatorEnd, stop: threading.Event) -> None:
    """Visit every site that is there, again and again, each in a thread: none waits for another."""
    beat = _flwr("proto.runtime_pb2").SendTaskHeartbeatRequest
    failed: list[BaseException] = []

    def attend(node: int, site: str) -> None:
        try:
            while not stop.wait(PAUSE_S):
                if called := _called(grid, node):
                    _visit(grid, node, called, end.visit(site), stop)
        except Exception as error:
            failed.append(error)
            stop.set()

    threads = [threading.Thread(target=attend, args=one, daemon=True) for one in sites.items()]
    for thread in threads:
        thread.start()
    while not stop.wait(BEAT_S):
        grid._client.SendTaskHeartbeat(beat())
    for thread in threads:
        thread.join(PAUSE_S)
    if failed:
        raise failed[0]


def _called(grid: Any, node: int) -> str:
    """When a site called the last time; empty where it is not there."""
    return next((str(one.last_activated_at) for one in grid.get_nodes() if one.node_id == node), "")


def _visit(grid: Any, node: int, called: str, visit: Visit, stop: threading.Event) -> None:
    """Send each request of a visit, until the last is answered or the site is gone."""
    app = _flwr("app")
    with contextlib.suppress(StopIteration):
        ask = next(visit)
        while not stop.is_set():
            content, until = app.RecordDict({RECORD: app.ConfigRecord(ask)}), time.monotonic() + LOST_S
            message = app.Message(content, dst_node_id=node, message_type="query", ttl=LOST_S)
            name = next(iter(grid.push_messages([message])), None)
            while name and (told := _answered(grid, name)) is None:
                if stop.wait(POLL_S) or time.monotonic() > until or _called(grid, node) != called:
                    return  # it was killed, and may have called again since
            if not name:
                return
            ask = visit.send(told or {})


def _answered(grid: Any, name: str) -> Ask | None:
    """The answer to a request; None where there is none yet, and empty where it does not come whole."""
    runtime, objects = _flwr("proto.runtime_pb2"), _flwr("supercore.inflatable.inflatable_utils")
    found = grid._client.PullMessages(runtime.PullAppMessagesRequest(message_ids=[name]))
    if not found.messages_list:
        return None
    wire, client = _flwr("supercore.inflatable.inflatable_protobuf_utils"), grid._client
    at = (grid.node, found.messages_list[0].metadata.run_id)
    try:
        message = objects.pull_and_inflate_object_from_tree(
            found.message_object_trees[0],
            wire.make_pull_object_fn_protobuf(client.PullObject, *at),
            wire.make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, *at),
            return_type=_flwr("app").Message,
            max_time=STALL_S,
        )
    except objects.ObjectPullError:
        return {}
    return _told(message)


def _told(message: Any) -> Ask:
    """What a message says; nothing where it is an error or something else."""
    if not message.has_content() or RECORD not in message.content:
        return {}
    return dict(message.content[RECORD])
