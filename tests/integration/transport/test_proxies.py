"""Behind real nginx, HAProxy and Envoy: answers come through, callers are who they are, and restarts lose nothing."""

import json
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import rbd
import trustme

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS
from support.images import NewImage
from support.proxies import envoy, free_ports, haproxy, nginx
from support.server import Server, is_ready, run_server
from support.tools import Tools, write_scope
from support.waiting import wait_until
from support.wire import HTTP, Request, connected, framed, http1_bytes, read_http1, send, valid

MEGABYTE = 1 << 20
CALLER = "192.0.2.7"
PROXIES = ("nginx", "haproxy", "envoy")

NGINX = """
upstream http_servers {{ server {http}; server {host}:{http_port}; }}
upstream grpc_servers {{ server {grpc}; }}
server {{ listen 127.0.0.1:{0}; location / {{
  proxy_pass http://http_servers; proxy_set_header X-Forwarded-For {caller}; proxy_set_header X-Forwarded-Proto $scheme;
}} }}
server {{ listen 127.0.0.1:{1} http2; location / {{
  grpc_pass grpc://grpc_servers; grpc_set_header X-Forwarded-For {caller}; grpc_set_header X-Forwarded-Proto https;
}} }}
server {{ listen 127.0.0.1:{2} ssl; ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
  location / {{
    proxy_pass http://http_servers;
    proxy_set_header X-Forwarded-For {caller}; proxy_set_header X-Forwarded-Proto $scheme;
  }}
}}
"""

HAPROXY = """
defaults
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  mode http
frontend http
  bind 127.0.0.1:{0}
  http-request set-header X-Forwarded-For {caller}
  http-request set-header X-Forwarded-Proto http
  default_backend http_servers
backend http_servers
  server one {http}
frontend grpc
  bind 127.0.0.1:{1} proto h2
  http-request set-header X-Forwarded-For {caller}
  http-request set-header X-Forwarded-Proto https
  default_backend grpc_servers
backend grpc_servers
  server one {grpc} proto h2
frontend https
  bind 127.0.0.1:{2} ssl crt {folder}/both.pem
  http-request set-header X-Forwarded-For {caller}
  http-request set-header X-Forwarded-Proto https
  default_backend http_servers
"""

ENVOY_LISTENER = """
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {cluster}
          use_remote_address: false
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            request_headers_to_add:
            - {{ header: {{ key: x-forwarded-for, value: {caller} }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}
            - {{ header: {{ key: x-forwarded-proto, value: "{scheme}" }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster}, timeout: 30s }} }}]
      {tls}
"""

ENVOY_TLS = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{ filename: {folder}/server.pem }}
              private_key: {{ filename: {folder}/server.key }}
"""

ENVOY_CLUSTER = """
  - name: {name}
    connect_timeout: 5s
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }}
    {options}
"""

ENVOY_HTTP2 = """typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"""


@dataclass(frozen=True)
class Front:
    """A server by a proxy's addresses; ``direct`` is the server by its own."""

    server: Server
    direct: Server
    tls_address: str
    context: ssl.SSLContext
    token: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxies")


@pytest.fixture(scope="module")
def context(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    (folder / "server.key").touch(0o600)
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def trusting(cluster: DevCluster, folder: Path) -> Iterator[tuple[Server, str]]:
    """A server that asks for tokens, and trusts proxies on this machine; and a token."""
    tokens = Tokens(folder)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    with run_server(folder, settings, "--proxies-trusted=127.0.0.0/8") as server:
        yield server, token
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module", params=PROXIES)
def front(
    request: pytest.FixtureRequest, folder: Path, context: ssl.SSLContext, trusting: tuple[Server, str]
) -> Iterator[Front]:
    server, token = trusting
    ports = free_ports(3)
    with ExitStack() as stack:
        place = folder / str(request.param)
        host, _, http_port = server.address.rpartition(":")
        values = {
            "http": server.address,
            "grpc": server.grpc_address,
            "host": host,
            "http_port": http_port,
            "caller": CALLER,
            "folder": folder,
        }
        match request.param:
            case "nginx":
                stack.enter_context(nginx(place, NGINX.format(*ports, **values), ports))
            case "haproxy":
                stack.enter_context(haproxy(place, HAPROXY.format(*ports, **values), ports))
            case _:
                stack.enter_context(envoy(place, of_envoy(server, ports, folder), ports))
        http, grpc, tls = (f"127.0.0.1:{port}" for port in ports)
        yield Front(replace(server, address=http, grpc_address=grpc), server, tls, context, token)


def of_envoy(server: Server, ports: list[int], folder: Path) -> str:
    tls = ENVOY_TLS.format(folder=folder)
    listeners = [
        ENVOY_LISTENER.format(port=port, cluster=cluster, caller=CALLER, scheme=scheme, tls=tls if by_tls else "")
        for port, cluster, scheme, by_tls in zip(
            ports, ("http", "grpc", "http"), ("http", "https", "https"), (False, False, True), strict=True
        )
    ]
    clusters = []
    for name, address, options in (("http", server.address, ""), ("grpc", server.grpc_address, ENVOY_HTTP2)):
        host, _, port = address.rpartition(":")
        clusters.append(ENVOY_CLUSTER.format(name=name, host=host, port=port, options=options))
    return f"static_resources:\n  listeners:{''.join(listeners)}\n  clusters:{''.join(clusters)}"


def sent(address: str, request: Request, context: ssl.SSLContext | None = None) -> tuple[int, str, str]:
    """Send a request; give the status, the code and the reason of what comes back."""
    with connected(address) as connection, ExitStack() as stack:
        if context is not None:
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname="localhost"))  # noqa: PLW2901
        connection.sendall(http1_bytes(request))
        answer = read_http1(connection)
        return answer.status, answer.code or "", answer.reason


def with_token(request: Request, token: str) -> Request:
    return request.with_header(b"authorization", f"Bearer {token}".encode())


def audited(server: Server, request_id: str) -> dict[str, Any]:
    """Give the line of the audit of a call."""
    wait_until(lambda: request_id in server.audit.read_text())
    (line,) = [line for line in server.audit.read_text().splitlines() if request_id in line]
    found: dict[str, Any] = json.loads(line)
    return found


class TestAnswersComeThrough:
    def test_large_posts_of_strangers_take_no_server_out_of_service(self, front: Front) -> None:
        """Each is refused before it is read; then the connection ends, or is kept, as the proxy asks for."""
        large = replace(valid("connect-json"), body=b" " * MEGABYTE)
        for _ in range(12):
            status, _, reason = sent(front.server.address, large)
            assert (status, reason) in {(401, "UNAUTHENTICATED"), (429, "MESSAGE_TOO_LARGE")}
        for _ in range(12):
            answer = send(front.server, replace(valid("grpc"), body=framed(b" " * (MEGABYTE - 5))))
            assert answer.code in {"unauthenticated", "resource_exhausted"}
        listed = CALLS["grpc"](front.server, {"scope": "test"}, "ListPools", bearer(front.token))
        assert listed.code is None
        good = with_token(valid("connect-json"), front.token)
        for _ in range(4):
            # By TLS to the proxy; in clear no token is taken from its caller.
            assert sent(front.tls_address, good, front.context)[2] == "SCOPE_NOT_FOUND"

    @pytest.mark.parametrize("transport", HTTP)
    def test_each_transport(self, front: Front, transport: str) -> None:
        request = with_token(valid(transport), front.token)
        assert sent(front.tls_address, request, front.context)[1:] == ("not_found", "SCOPE_NOT_FOUND")

    def test_all_that_stands_in_a_calls_way_fits_into_grpcs_headers(
        self, front: Front, tools: Tools, new_image: NewImage
    ) -> None:
        """Nginx takes 4 KiB, and answers 502 for more."""
        image = new_image()
        names = [f"{number}-" + "\u00e9" * 110 for number in range(20)]
        with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
            for name in names:
                opened.create_snap(name)
        request = {"scope": "test", "poolName": "rbd", "imageName": image}
        outcome = CALLS["grpc"](front.server, request, "DeleteImage", bearer(front.token))
        assert outcome.reason == "IMAGE_HAS_SNAPSHOTS"
        listed = outcome.details["PreconditionFailure"]["violations"]
        assert [violation["subject"] for violation in listed] == names[: len(listed)]


class TestCallers:
    @pytest.mark.parametrize("transport", [*HTTP, "grpc"])
    def test_are_whom_the_proxy_speaks_for(self, front: Front, transport: str) -> None:
        request_id = f"{transport}:{time.monotonic_ns()}"
        if transport == "grpc":
            headers = [("x-request-id", request_id)]
            CALLS["grpc"](front.server, {"scope": "x"}, "CreateImageSnapshot", headers)
        else:
            sent(front.server.address, valid(transport).with_header(b"x-request-id", request_id.encode()))
        assert audited(front.direct, request_id)["peer"] == CALLER

    def test_a_token_is_taken_where_it_came_to_the_proxy_by_tls(self, front: Front) -> None:
        request = with_token(valid("connect-json"), front.token)
        assert sent(front.server.address, request)[2] == "UNAUTHENTICATED"
        assert sent(front.tls_address, request, front.context)[2] == "SCOPE_NOT_FOUND"


@pytest.mark.parametrize("transport", [*HTTP, "grpc"])
def test_who_is_no_trusted_proxy_says_nothing_by_these_headers(transport: str, untrusting: tuple[Server, str]) -> None:
    server, token = untrusting
    request_id = f"{transport}-{time.monotonic_ns()}"
    said = [("x-forwarded-for", CALLER), ("x-forwarded-proto", "http"), ("forwarded", f"for={CALLER};proto=http")]
    headers = [*said, ("x-request-id", request_id), *bearer(token)]
    if transport == "grpc":
        outcome = CALLS["grpc"](server, {"scope": "nowhere"}, "CreateImageSnapshot", headers)
        assert outcome.code != "unauthenticated"
    else:
        request = valid(transport)
        for name, value in headers:
            request = request.with_header(name.encode(), value.encode())
        assert sent(server.address, request)[2] == "SCOPE_NOT_FOUND"
    assert audited(server, request_id)["peer"].startswith("127.0.0.1:")


@pytest.fixture(scope="module")
def untrusting(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("untrusting")
    tokens = Tokens(folder)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    with run_server(folder, settings, "--proxies-trusted=192.0.2.0/24") as server:
        yield server, token


PROXY_PROTOCOL = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend one
  bind 127.0.0.1:{0}
  default_backend first
backend first
  server one {http} send-proxy
frontend two
  bind 127.0.0.1:{1}
  default_backend second
backend second
  server one {http} send-proxy-v2
frontend three
  bind 127.0.0.1:{2} ssl crt {folder}/both.pem
  default_backend third
backend third
  server one {http} send-proxy-v2-ssl
"""


def test_the_proxy_protocol_says_who_calls(
    cluster: DevCluster, tmp_path: Path, folder: Path, context: ssl.SSLContext
) -> None:
    """Both versions: the address and the port are those of the client's own socket."""
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    flags = ("--proxies-trusted=127.0.0.1", "--proxies-proxy-protocol")
    ports = free_ports(3)
    with (
        run_server(tmp_path, settings, *flags) as server,
        haproxy(tmp_path / "haproxy", PROXY_PROTOCOL.format(*ports, http=server.address, folder=folder), ports),
    ):
        for port in ports:
            by_tls = port == ports[2]
            request_id = f"by-{port}"
            with connected(f"127.0.0.1:{port}") as connection, ExitStack() as stack:
                mine = "{}:{}".format(*connection.getsockname())
                wrapped = context.wrap_socket(connection, server_hostname="localhost") if by_tls else connection
                used = stack.enter_context(wrapped)
                request = with_token(valid("connect-json"), token).with_header(b"x-request-id", request_id.encode())
                used.sendall(http1_bytes(request))
                assert read_http1(used).reason == "SCOPE_NOT_FOUND"
            assert audited(server, request_id)["peer"] == mine
        with connected(server.address) as connection:  # a trusted proxy that does not say so
            connection.sendall(http1_bytes(valid("connect-json")))
            assert is_ended(connection)
        assert "Traceback" not in server.log.read_text()


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


ROLLING = """
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout check 5s
  option redispatch
  retries 0
frontend http
  bind 127.0.0.1:{0}
  default_backend servers
backend servers
  balance roundrobin
  option httpchk GET /readyz
  default-server check inter 200ms fall 1 rise 1
  server one {one}
  server two {two}
"""


def test_a_rolling_restart_loses_no_call(cluster: DevCluster, tmp_path: Path) -> None:
    """Of two servers behind HAProxy, which asks each for /readyz, one stops while calls go on, one after the other."""
    ports = free_ports(1)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    settings = write_scope("test", cluster)
    failures: list[object] = []
    made = 0
    ending = threading.Event()

    def go_on() -> None:
        nonlocal made
        while not ending.is_set():
            outcome = sent(f"127.0.0.1:{ports[0]}", valid("connect-json"))
            made += 1
            if outcome[2] != "SCOPE_NOT_FOUND":
                failures.append(outcome)

    with (
        run_server(tmp_path / "one", settings, "--listen-drain-delay=6") as one,
        run_server(tmp_path / "two", settings) as two,
    ):
        # HAProxy takes a server out at the first check that fails, as one does that comes before it has connected.
        wait_until(lambda: is_ready(one) and is_ready(two))
        with haproxy(tmp_path / "haproxy", ROLLING.format(*ports, one=one.address, two=two.address), ports):
            wait_until(lambda: sent(f"127.0.0.1:{ports[0]}", valid("connect-json"))[2] == "SCOPE_NOT_FOUND")
            callers = [threading.Thread(target=go_on) for _ in range(4)]
            for caller in callers:
                caller.start()
            one.process.send_signal(signal.SIGTERM)
            assert one.process.wait(30) == 0
            ending.set()
            for caller in callers:
                caller.join(30)
    assert failures == []
    assert made > 100
