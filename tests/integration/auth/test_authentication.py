"""Who is let in, on each transport: the credentials that are none are all answered the same."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import grpc
import pytest

from otterscale.storage.v1.storage_pb2 import ListPoolsRequest
from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant, wrong_token
from support.clients import grpc_stubs
from support.secrets import SECRETS
from support.server import COMMAND, Server, run_server, start_and_fail
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import CONNECT, HTTP, TRANSPORTS, Answer, Request, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tokens: Tokens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets in who has a token, and grants alice everything."""
    for subject in ("alice", "bob", "revoked"):
        tokens.new(subject)
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"], namespaces="*", pools="*")
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def token(server: Server, tokens: Tokens) -> bytes:
    """One of alice's that is valid by now."""
    token = tokens.new("alice").encode()
    request = authorized(valid("connect-json", "test", "nowhere"), b"Bearer " + token)
    wait_until(lambda: send(server, request).reason == "IMAGE_NOT_FOUND")
    return token


def told(answer: Answer) -> tuple[object, ...]:
    """All that a caller is told, but for what differs by call: the request's id, and the time."""
    varies = {"x-request-id", "date", "grpc-status-details-bin"}
    headers = {name: value for name, value in answer.headers.items() if name not in varies}
    headers.pop("content-length", None)
    return answer.status, headers, answer.code, answer.reason, answer.message


def authorized(request: Request, *values: bytes) -> Request:
    return replace(request, headers=[*request.headers, *((b"authorization", value) for value in values)])


@every_transport
def test_a_token_lets_in(server: Server, tokens: Tokens, transport: str) -> None:
    token = tokens.new("alice").encode()
    request = authorized(valid(transport, scope="test", image="nowhere"), b"Bearer " + token)
    wait_until(lambda: send(server, request).reason == "IMAGE_NOT_FOUND")
    for form in (b"bearer " + token, b"BEARER   " + token):
        assert send(server, authorized(valid(transport, "test", "nowhere"), form)).reason == "IMAGE_NOT_FOUND"


# By what a valid token is, which is the name's; the values of the headers Authorization.
NO_CREDENTIALS: dict[str, Callable[[bytes], list[bytes]]] = {
    "none": lambda _: [],
    "wrong": lambda _: [b"Bearer " + wrong_token().encode()],
    "truncated": lambda token: [b"Bearer " + token[:-1]],
    "longer": lambda token: [b"Bearer " + token + b"A"],
    "in another case": lambda token: [b"Bearer " + token.swapcase()],
    "twice": lambda token: [b"Bearer " + token, b"Bearer " + token],
    "a wrong one first": lambda token: [b"Bearer " + wrong_token().encode(), b"Bearer " + token],
    "a wrong one last": lambda token: [b"Bearer " + token, b"Bearer " + wrong_token().encode()],
    "two in one": lambda token: [b"Bearer " + token + b", Bearer " + token],
    "no scheme": lambda token: [token],
    "only the scheme": lambda _: [b"Bearer"],
    "empty": lambda _: [b""],
    "another scheme": lambda token: [b"Basic " + token],
    "no space": lambda token: [b"Bearer" + token],
    "a tab": lambda token: [b"Bearer\t" + token],
    "more behind": lambda token: [b"Bearer " + token + b" x"],
    "quoted": lambda token: [b'Bearer "' + token + b'"'],
    "a hash": lambda token: [b"Bearer " + sha256(token).hexdigest().encode()],
    "a hash as a token": lambda token: [b"Bearer rbdc_" + sha256(token).hexdigest().encode()],
    "no JWT": lambda _: [b"Bearer a.b.c"],
    "32 KiB": lambda _: [b"Bearer " + b"A" * 32 * 1024],
    "a glob": lambda _: [b"Bearer rbdc_*"],
}


class TestWhatIsNoCredential:
    @every_transport
    @pytest.mark.parametrize("name", NO_CREDENTIALS)
    def test_is_told_the_same_whatever_it_is(self, server: Server, token: bytes, transport: str, name: str) -> None:
        request = valid(transport, "test", "nowhere")
        nothing = told(send(server, request))
        assert nothing[2:4] == ("unauthenticated", "UNAUTHENTICATED")
        assert told(send(server, authorized(request, *NO_CREDENTIALS[name](token)))) == nothing

    @pytest.mark.parametrize("transport", HTTP)
    def test_is_told_the_same_also_where_it_is_no_utf8(self, server: Server, transport: str) -> None:
        request = valid(transport, "test", "nowhere")
        assert told(send(server, authorized(request, b"Bearer \xff\xfe"))) == told(send(server, request))

    @pytest.mark.parametrize("transport", HTTP)
    def test_of_a_megabyte_is_refused_by_its_size(self, server: Server, transport: str) -> None:
        request = authorized(valid(transport, "test", "nowhere"), b"Bearer " + b"A" * (1 << 20))
        with suppress(ConnectionError):  # it may be closed in the middle of it
            assert send(server, request).reason == "HEADERS_TOO_LARGE"

    def test_of_a_megabyte_is_refused_over_grpc(self, server: Server) -> None:
        with grpc.insecure_channel(server.grpc_address, [("grpc.max_metadata_size", 1 << 22)]) as channel:
            stub = grpc_stubs().StorageServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                stub.ListPools(ListPoolsRequest(scope="test"), metadata=bearer("A" * (1 << 20)))
        assert refused.value.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}

    @pytest.mark.parametrize("transport", CONNECT)
    def test_is_challenged_as_http_asks(self, server: Server, transport: str) -> None:
        answer = send(server, valid(transport, "test", "nowhere"))
        assert (answer.status, answer.headers["www-authenticate"]) == (401, b'Bearer realm="rbd-connect"')


@every_transport
def test_another_header_says_nothing(server: Server, tokens: Tokens, transport: str) -> None:
    token = tokens.new("alice").encode()
    request = valid(transport, "test", "nowhere")
    wait_until(lambda: send(server, authorized(request, b"Bearer " + token)).code == "not_found")
    for name in (b"x-authorization", b"proxy-authorization", b"x-forwarded-user", b"cookie", b"authorization-bin"):
        value = b"QmVhcmVy" if name.endswith(b"-bin") else b"Bearer " + token
        assert send(server, replace(request, headers=[*request.headers, (name, value)])).code == "unauthenticated"


@every_transport
def test_a_token_that_is_revoked_lets_in_no_longer(server: Server, tokens: Tokens, transport: str) -> None:
    subject = f"leaver-{transport}"
    token = tokens.new(subject).encode()
    request = authorized(valid(transport, "test", "nowhere"), b"Bearer " + token)
    wait_until(lambda: send(server, request).reason == "SCOPE_NOT_FOUND")  # let in, and nothing is granted
    tokens.revoke(subject)
    wait_until(lambda: send(server, request).code == "unauthenticated")


@pytest.mark.parametrize(
    "path",
    [
        b"//otterscale.storage.v1.StorageService/CreateImageSnapshot",
        b"/otterscale.storage.v1.StorageService//CreateImageSnapshot",
        b"/otterscale.storage.v1.StorageService/CreateImageSnapshot/",
        b"/otterscale.storage.v1.StorageService/CreateImageSnapshot.",
        b"/otterscale.storage.v1.StorageService/CreateImageSnapshot%20",
        b"/otterscale.storage.v1.StorageService%2FCreateImageSnapshot",
        b"/otterscale.storage.v1.StorageService/./CreateImageSnapshot",
        b"/healthz/../otterscale.storage.v1.StorageService/CreateImageSnapshot",
        b"/otterscale.storage.v1.storageservice/createimagesnapshot",
        b"/OTTERSCALE.storage.v1.StorageService/CreateImageSnapshot",
        b"/otterscale.storage.v1.StorageService./CreateImageSnapshot",
        b"/otterscale.storage.v1.StorageService/CreateImageSnapsho%74",
    ],
)
@every_transport
def test_no_other_path_leads_to_a_method(server: Server, transport: str, path: bytes) -> None:
    answer = send(server, replace(valid(transport, "test", "nowhere"), path=path))
    assert answer.code in {"unimplemented", "unauthenticated"}
    assert answer.reason in {"UNKNOWN_PROCEDURE", "METHOD_NOT_ALLOWED", ""}


class TestStarting:
    def refusal(self, cluster: DevCluster, folder: Path, text: str, *flags: str) -> str:
        config = folder / "settings.toml"
        config.write_text(text + write_scope("test", cluster))
        done = start_and_fail("serve", "--config", str(config), *flags)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    @pytest.mark.parametrize("listener", ["http", "grpc"])
    def test_without_authentication_it_listens_on_loopback_only(
        self, cluster: DevCluster, tmp_path: Path, listener: str
    ) -> None:
        refusal = self.refusal(cluster, tmp_path, "", f"--listen-{listener}=0.0.0.0:0")
        assert f"listen.{listener}: 0.0.0.0:0 can be reached by others" in refusal
        for remedy in ("auth.tokens", "issuers", "127.0.0.1", "--insecure"):
            assert remedy in refusal

    def test_who_knows_can_have_it_open(self, cluster: DevCluster, tmp_path: Path) -> None:
        flags = ("--insecure", "--listen-http=0.0.0.0:0", "--listen-grpc=0.0.0.0:0")
        with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
            assert "everybody who can reach the server may do everything" in server.log.read_text()

    def test_grants_without_authentication_are_a_mistake(self, cluster: DevCluster, tmp_path: Path) -> None:
        config = tmp_path / "settings.toml"
        config.write_text(write_scope("test", cluster) + grant("alice", ["*"]))
        assert "grants: are to nobody" in start_and_fail("serve", "--config", str(config)).stderr

    @pytest.mark.parametrize("mode", [0o604, 0o646, 0o601])
    def test_secrets_that_others_can_open_are_refused(self, cluster: DevCluster, tmp_path: Path, mode: int) -> None:
        tokens = Tokens(tmp_path)
        tokens.new("alice")
        tokens.path.chmod(mode)
        refusal = self.refusal(cluster, tmp_path, tokens.setting)
        assert f"{tokens.path} holds secrets, and every user may open it; say: chmod o= {tokens.path}" in refusal
        tokens.path.chmod(0o640)
        with run_server(tmp_path, tokens.setting + write_scope("test", cluster)):
            pass

    def test_a_file_of_tokens_that_is_none(self, cluster: DevCluster, tmp_path: Path) -> None:
        tokens = Tokens(tmp_path)
        secret = tokens.new("alice")
        with tokens.path.open("a") as file:
            file.write(f"{secret}\n")
        refusal = self.refusal(cluster, tmp_path, tokens.setting)
        assert f"{tokens.path}, line 2: is no token's entry" in refusal
        assert secret not in refusal


def test_it_says_that_without_tls_tokens_are_taken_from_this_machine_only(cluster: DevCluster, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.new("alice")
    flags = ("--listen-http=0.0.0.0:0", "--listen-grpc=0.0.0.0:0")
    with run_server(tmp_path, tokens.setting + write_scope("test", cluster), *flags) as server:
        log = server.log.read_text()
    assert "without TLS, credentials are taken from this machine only" in log
    assert "nothing is granted to anybody" in log


class TestTheCommand:
    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([COMMAND, "token", *words], capture_output=True, text=True, check=False)

    def test_keeps_no_token_but_its_hash(self, tmp_path: Path) -> None:
        tokens = Tokens(tmp_path)
        token = tokens.new("backup-job", "--days", "30")
        text = tokens.path.read_text()
        assert token not in text
        assert token.removeprefix("rbdc_") not in text
        entry = json.loads(text)
        assert entry["subject"] == "backup-job"
        assert tokens.path.stat().st_mode & 0o777 == 0o600
        listed = self.run("list", "--file", str(tokens.path)).stdout
        assert listed.startswith(entry["sha256"][:12] + "  backup-job  created ")
        assert len(token) > 45

    def test_without_a_file_shows_what_to_put_there(self) -> None:
        done = self.run("new", "--subject", "backup-job")
        assert done.stdout.startswith("rbdc_")
        assert '"subject":"backup-job"' in done.stderr
        assert done.stdout.strip() not in done.stderr

    def test_finds_the_file_in_the_settings(self, tmp_path: Path) -> None:
        tokens = Tokens(tmp_path)
        config = tmp_path / "settings.toml"
        config.write_text(tokens.setting)
        assert self.run("new", "--subject", "alice", "--config", str(config)).returncode == 0
        assert "alice" in tokens.path.read_text()

    def test_finds_the_file_from_the_folder_of_the_settings(self, tmp_path: Path) -> None:
        """Wherever one stands, so that no second file is made; and says so where it makes the first."""
        settings, elsewhere = tmp_path / "settings", tmp_path / "elsewhere"
        settings.mkdir()
        elsewhere.mkdir()
        (settings / "settings.toml").write_text('auth.tokens = "tokens"\n')
        told = []
        for folder, config in ((elsewhere, "../settings/settings.toml"), (settings, "settings.toml")):
            command = [COMMAND, "token", "new", "--subject", "alice", "--config", config]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            SECRETS.add(done.stdout.strip())
            told.append(done.stderr.splitlines())
        assert [path.name for path in tmp_path.rglob("tokens")] == ["tokens"]
        assert told[0][0] == f"there was no file {settings}/tokens: it is made"
        assert [len(lines) for lines in told] == [2, 1]
        assert told[1][0].endswith(" of alice is in tokens; it is shown this once:")
        listed = self.run("list", "--config", str(settings / "settings.toml")).stdout
        assert listed.count("alice") == 2

    def test_names_the_folder_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "nowhere" / "tokens"
        done = self.run("new", "--subject=alice", "--file", str(path))
        expected = f"Error: {path}: there is no folder {path.parent}; make it, or name another file.\n"
        assert (done.returncode, done.stderr) == (1, expected)
        done = self.run("list", "--file", str(path))
        expected = f"Error: {path}: there is no such file; `rbd-connect token new` makes one.\n"
        assert (done.returncode, done.stderr) == (1, expected)

    @pytest.mark.parametrize("subject", ["", "a:b", "a b", "-x", "ä", "a\nb", "x" * 129])
    def test_refuses_what_can_be_no_subject(self, tmp_path: Path, subject: str) -> None:
        done = self.run("new", f"--subject={subject}", "--file", str(tmp_path / "tokens"))
        assert done.returncode == 1
        assert "can be no subject" in done.stderr
        assert not (tmp_path / "tokens").exists()

    def test_says_so_where_there_is_nothing_to_revoke(self, tmp_path: Path) -> None:
        tokens = Tokens(tmp_path)
        tokens.new("alice")
        before = tokens.path.read_text()
        done = self.run("revoke", "0123", "--file", str(tokens.path))
        assert (done.returncode, tokens.path.read_text()) == (1, before)
        assert "there is no token '0123'" in done.stderr


def test_the_command_that_explains_says_by_its_status_whether_it_is_granted(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.new("alice")
    config = tmp_path / "settings.toml"
    config.write_text(tokens.setting + grant("alice", ["create"], "vm-*", scopes="prod"))

    def explained(*words: str) -> tuple[int, str]:
        command = [COMMAND, "access", "explain", *words, "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout or done.stderr

    status, text = explained("alice", "create", "prod/rbd/vm-1")
    assert (status, text) == (0, f"granted by {config}, line 3: [[grants]] number 1\n")
    status, text = explained("alice", "delete", "prod/rbd/vm-1")
    assert (status, text.startswith("denied: no grant in ")) == (1, True)
    assert explained("alice", "creat", "prod/rbd/vm-1")[0] == 2
    status, text = explained("alice", "create", "prod")
    assert (status, "is no place" in text) == (1, True)


class TestWhatAStrangerIsTold:
    def readiness(self, server: Server, *headers: str) -> dict[str, object]:
        words = [word for header in headers for word in ("--header", header)]
        url = f"{server.url}/readyz"
        done = subprocess.run(["curl", "--silent", *words, url], capture_output=True, text=True, check=True)
        content = json.loads(done.stdout)
        assert isinstance(content, dict)
        return content

    def test_readiness_names_no_clusters(self, server: Server) -> None:
        wait_until(lambda: self.readiness(server) == {"status": "ready"})

    def test_readiness_names_them_to_whom_something_is_granted(self, server: Server, tokens: Tokens) -> None:
        alice, bob = tokens.new("alice"), tokens.new("bob")
        expected = {"status": "ready", "scopes": {"test": "connected"}}
        wait_until(lambda: self.readiness(server, f"Authorization: Bearer {alice}") == expected)
        assert self.readiness(server, f"Authorization: Bearer {bob}") == {"status": "ready"}

    def test_health_and_reflection_are_open(self, server: Server) -> None:
        done = subprocess.run(["curl", "--silent", f"{server.url}/healthz"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == {"status": "alive"}
