"""Calls that `rbd-connect dev` prints: they fit the addresses, TLS and credentials of the server."""

from pathlib import Path

import pytest
import trustme

from rbd_connect.cli.dev_calls import calls
from rbd_connect.config.settings import Settings, TlsSettings
from rbd_connect.config.types import Address

GRPC = Address("127.0.0.1", 50051)


def printed(settings: Settings, http: Address, token: str | None = None) -> tuple[list[str], list[str]]:
    """The lines of the calls by curl and by buf with Connect, without what is always there."""
    by_curl, by_buf, _ = calls(settings, http, GRPC, token)
    curl, buf = ([line.strip() for line in text.split("\\\n")] for text in (by_curl, by_buf))
    return [line for line in curl[1:] if not line.startswith("--data")], buf[1:-2] + buf[-1:]


def path(url: str) -> str:
    return url.removesuffix("/otterscale.storage.v1.StorageService/CreateImageSnapshot")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4711"),
        ("localhost", "http://localhost:4711"),
        ("0.0.0.0", "http://127.0.0.1:4711"),  # noqa: S104 - as a setting
        ("10.0.0.1", "http://10.0.0.1:4711"),
        ("::1", "'http://[::1]:4711"),
        ("::", "'http://[::1]:4711"),
    ],
)
def test_an_address_is_one_by_which_this_machine_reaches_it(host: str, url: str) -> None:
    for lines in printed(Settings(scopes={}), Address(host, 4711)):
        (last,) = lines
        assert path(last.rstrip("'")) == url


def test_a_socket_in_the_file_system() -> None:
    for lines in printed(Settings(scopes={}), Address("unix:/run/a b.sock", 0)):
        assert [*lines[:-1], path(lines[-1])] == ["--unix-socket '/run/a b.sock'", "http://localhost"]


def test_a_token_is_a_header() -> None:
    for lines in printed(Settings(scopes={}), GRPC, "rbdc_x"):
        assert lines[0] == "--header 'Authorization: Bearer rbdc_x'"


class TestTls:
    def settings(self, folder: Path, *names: str, client_ca_on: tuple[str, ...] = ()) -> Settings:
        issued = trustme.CA().issue_cert(*names)
        certificate, key = folder / "server.pem", folder / "server.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        key.touch(0o600)
        tls = {"certificate": certificate, "key": key}
        more = {"client_ca": certificate, "client_ca_on": client_ca_on} if client_ca_on else {}
        return Settings(scopes={}, tls=TlsSettings.model_validate(tls | more))

    @pytest.mark.parametrize(
        ("names", "curl", "buf"),
        [
            (["127.0.0.1"], ["https://127.0.0.1:8443"], ["https://127.0.0.1:8443"]),
            (
                ["localhost", "x.example.com"],
                ["--connect-to ::127.0.0.1:8443", "https://localhost:8443"],
                ["--servername localhost", "https://127.0.0.1:8443"],
            ),
            (
                ["x.example.com"],
                ["--connect-to ::127.0.0.1:8443", "--header 'Host: localhost'", "https://x.example.com:8443"],
                ["--servername x.example.com", "https://127.0.0.1:8443"],
            ),
            (
                ["*.example.com"],
                ["--connect-to ::127.0.0.1:8443", "--header 'Host: localhost'", "https://rbd-connect.example.com:8443"],
                ["--servername rbd-connect.example.com", "https://127.0.0.1:8443"],
            ),
        ],
    )
    def test_a_name_of_the_certificate_is_asked_for(
        self, tmp_path: Path, names: list[str], curl: list[str], buf: list[str]
    ) -> None:
        found = printed(self.settings(tmp_path, *names), Address("127.0.0.1", 8443))
        for lines, expected in zip(found, (curl, buf), strict=True):
            assert [*lines[:-1], path(lines[-1])] == [f"--cacert {tmp_path}/server.pem", *expected]

    def test_a_client_shows_a_certificate_where_it_must(self, tmp_path: Path) -> None:
        settings = self.settings(tmp_path, "127.0.0.1", client_ca_on=("grpc",))
        by_curl, by_buf, by_grpc = calls(settings, Address("127.0.0.1", 8443), GRPC, None)
        assert ["--cert client.pem --key client.key" in text for text in (by_curl, by_buf, by_grpc)] == [0, 0, 1]

    def test_http_2_is_said_by_the_handshake(self, tmp_path: Path) -> None:
        for settings, prior in ((Settings(scopes={}), True), (self.settings(tmp_path, "127.0.0.1"), False)):
            *_, by_grpc = calls(settings, GRPC, GRPC, None)
            assert ("--http2-prior-knowledge" in by_grpc) is prior
