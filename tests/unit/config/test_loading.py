"""Settings: flags over environment over file, and one line for whatever is wrong."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from rbd_connect.config.loading import ConfigurationError, load, read_file
from rbd_connect.config.origins import Setting
from rbd_connect.config.settings import Settings, fields_of
from rbd_connect.config.types import Address, can_be_path


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "ceph.conf"
    path.touch()
    return path


def load_toml(folder: Path, text: str) -> Settings:
    return load(read_toml(folder, text))


def read_toml(folder: Path, text: str) -> list[Setting]:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return read_file(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_toml(folder, text)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message


def test_a_file_as_the_readme_has_it(tmp_path: Path, conf: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.touch(0o600)
    settings = load_toml(
        tmp_path,
        f"""
        [listen]
        http = "[::1]:9090"
        [scopes.prod]
        conf = "{conf}"
        client = "client.other"
        keyring = "{keyring}"
        namespaces = ["rbd/team"]
        [scopes.lab]
        conf = "{conf}"
        """,
    )
    assert settings.listen.http == Address("::1", 9090)
    assert (settings.scopes["prod"].client, settings.scopes["prod"].keyring) == ("client.other", keyring)
    assert (settings.scopes["lab"].client, settings.scopes["lab"].keyring) == ("client.rbd-connect", None)
    assert [settings.scopes[name].namespaces for name in ("prod", "lab")] == [("rbd/team",), ()]
    assert settings.usage.diff_budget == 4_096
    assert settings.connect.require_protocol_version


def test_the_last_that_was_given_wins(tmp_path: Path, conf: Path) -> None:
    file = read_toml(
        tmp_path, f'[listen]\nhttp = "127.0.0.1:1"\n[usage]\ndiff_budget = 5\n[scopes.a]\nconf = "{conf}"\n'
    )
    environment = [
        Setting(("listen", "http"), "127.0.0.1:2", "RBD_CONNECT_LISTEN_HTTP"),
        Setting(("scopes", "a", "client"), "client.b", "RBD_CONNECT_SCOPES"),
    ]
    flags = [Setting(("listen", "http"), "127.0.0.1:3", "--listen-http")]
    settings = load([*file, *environment, *flags])
    assert settings.listen.http == Address("127.0.0.1", 3)
    assert settings.usage.diff_budget == 5
    assert (settings.scopes["a"].conf, settings.scopes["a"].client) == (conf, "client.b")


class TestWithoutScopes:
    def test_each_conf_of_cephs_folder_is_a_scope(self, tmp_path: Path) -> None:
        for name in ("ceph.conf", "backup.conf", "backup.client.rbd-connect.keyring", "rbdmap"):
            (tmp_path / name).touch()
        scopes = load([], ceph_folder=tmp_path).scopes
        assert {name: scope.client for name, scope in scopes.items()} == {
            "ceph": "client.admin",
            "backup": "client.rbd-connect",
        }
        assert scopes["ceph"].conf == tmp_path / "ceph.conf"

    def test_an_empty_table_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "ceph.conf").touch()
        assert list(load(read_toml(tmp_path, "[scopes]"), ceph_folder=tmp_path).scopes) == ["ceph"]

    def test_no_conf_at_all_names_the_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="--scope NAME=CONF"):
            load([], ceph_folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("[listen]\nhtpp = 1", "listen.htpp", "Do you mean http?"),
        ("[listen]\ncolour = 1", "listen.colour", "Known here: http"),
        ("[lisen]\nhttp = 1", "lisen", "Do you mean listen?"),
        ("[[grant]]\nsubjects = 1", "grant", "Do you mean grants?"),
        ("[weather]\nhttp = 1", "weather", "Known here: listen"),
        ("[calls]\ninsecure = true", "calls.insecure", "insecure is in no table: write it before the first header"),
        ("certificate = 'x'", "certificate", "Do you mean tls.certificate?"),
        ("[scopes.a]\nkeyrnig = 1", "scopes.a.keyrnig", "Do you mean keyring?"),
        ("[issuers.sso]\naudiance = 'x'", "issuers.sso.audiance", "Do you mean audience?"),
        ("[scopes.a]", "scopes.a.conf", "is required"),
        ("listen = 5", "listen", "must be a table"),
        ("scopes = 5", "scopes", "must be a table"),
        ('[listen]\nhttp = "8080"', "listen.http", "HOST:PORT"),
        ('[listen]\nhttp = "127.0.0.1"', "listen.http", "HOST:PORT"),
        ('[listen]\nhttp = "127.0.0.1:99999"', "listen.http", "HOST:PORT"),
        ('[listen]\nhttp = "http://127.0.0.1:80"', "listen.http", "HOST:PORT"),
        ("[listen]\nhttp = 8080", "listen.http", "HOST:PORT"),
        ("[usage]\ndiff_budget = -1", "usage.diff_budget", "-1 should be greater than or equal to 0"),
        ('[usage]\ndiff_budget = "many"', "usage.diff_budget", "'many' should be a valid integer"),
        ("[usage]\ndiff_budget = 1.5", "usage.diff_budget", "1.5 should be a valid integer"),
        ('[proxies]\nheader = "forwrded"', "proxies.header", "Do you mean forwarded?"),
        ('[proxies]\ntrusted = "10.1.2.0/33"', "proxies.trusted", "'10.1.2.0/33' is no network: "),
        ('[proxies]\ntrusted = ["10.1.2.1/24"]', "proxies.trusted", "host bits set; write one like 10.1.2.0/24"),
        ("[proxies]\ntrusted = 5", "proxies.trusted", "must be an array, in square brackets"),
        ('[tls]\nclient_ca_on = ["htp"]', "tls.client_ca_on", "'htp' is none of http, grpc. Do you mean http?"),
        ("grants = 5", "grants", "must be tables, each with the header [[grants]]"),
        ("[issuers.'a b']", "issuers.a b", "'a b' is no name for an issuer"),
        ("[calls]\nat_once = 0", "calls.at_once", "greater than 0"),
        ('[connect]\nrequire_protocol_version = "perhaps"', "connect.require_protocol_version", "boolean"),
        ('[scopes.a]\nconf = "/nowhere/ceph.conf"', "scopes.a.conf", "there is no file /nowhere/ceph.conf"),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_key_and_the_remedy(
    tmp_path: Path, conf: Path, text: str, key: str, remedy: str
) -> None:
    scope = "" if "scopes" in text else f'\n[scopes.ok]\nconf = "{conf}"\n'
    message = refusal(tmp_path, text + scope)
    assert f" {key}: " in message
    assert remedy in message


@pytest.mark.parametrize(
    ("line", "key", "remedy"),
    [
        ('client = "rbd-connect"', "scopes.a.client", "'rbd-connect' must be a Ceph user, like client.rbd-connect"),
        ('keyring = "/nowhere/keyring"', "scopes.a.keyring", "there is no file"),
        ('namespaces = ["rbd"]', "scopes.a.namespaces", "write POOL/NAMESPACE, like rbd/team"),
        ('namespaces = "rbd/a, rbd/b/c"', "scopes.a.namespaces", "write POOL/NAMESPACE, like rbd/team"),
        ("colour = 1", "scopes.a.colour", "Known here: conf, client, keyring"),
    ],
)
def test_a_wrong_setting_of_a_scope(tmp_path: Path, conf: Path, line: str, key: str, remedy: str) -> None:
    message = refusal(tmp_path, f'[scopes.a]\nconf = "{conf}"\n{line}\n')
    assert f" {key}: " in message
    assert remedy in message


GRANTS = """\
[auth]
tokens = "tokens"

[[grants]]
subjects = "alice"
actions = "*"
scopes = "*"
pools = "*"
images = "*"

[[grants]]
subjects = "bob"
actions = [
    "list",
]
scopes = "*"
pools = ["rbd"]
images = "*"
"""


class TestAGrant:
    @pytest.fixture
    def scope(self, tmp_path: Path, conf: Path) -> str:
        (tmp_path / "tokens").touch(0o600)
        return f'[scopes.ok]\nconf = "{conf}"\n'

    @pytest.mark.parametrize(
        ("right", "wrong", "message"),
        [
            (
                "actions = [",
                "acitons = [",
                "line 13: [[grants]] number 2: acitons: is no setting. Do you mean act",
            ),
            ('"list"', '"lsit"', "line 13: [[grants]] number 2: actions: 'lsit' is none of list, create, delete, "),
            ('"list"', '"lsit"', "image.*. Do you mean list?"),
            ('pools = ["rbd"]\n', "", "line 11: [[grants]] number 2: pools: is required."),
            ('subjects = "bob"\n', "", "line 11: [[grants]] number 2: must say to whom, with subjects or claims."),
            ('pools = ["rbd"]', 'pools = [""]', "line 17: [[grants]] number 2: pools: '' should have at least 1 chara"),
            ('pools = ["rbd"]', "pools = 5", "line 17: [[grants]] number 2: pools: must be an array, in square brack"),
            (
                'subjects = "bob"',
                "issuer = 'sso'\nclaims = { groups = 5 }",
                "line 13: [[grants]] number 2: claims.groups: must be an array",
            ),
            (
                'subjects = "bob"',
                "issuer = 'sos'\nclaims = { groups = 'x' }",
                "line 12: [[grants]] number 2: issuer: there is no issuers.sos.",
            ),
        ],
    )
    def test_that_is_wrong_is_named_by_its_line(
        self, tmp_path: Path, scope: str, right: str, wrong: str, message: str
    ) -> None:
        assert message in refusal(tmp_path, GRANTS.replace(right, wrong, 1) + scope)

    def test_has_the_line_of_the_array_where_they_have_no_headers(self, tmp_path: Path, scope: str) -> None:
        told = refusal(tmp_path, "\n\ngrants = [\n  { subjects = 'a' },\n]\n" + scope)
        assert "line 3: [[grants]] number 1: actions: is required." in told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"usage.diff_budget": "x"}, "--usage-diff-budget: usage.diff_budget: 'x' should be"),
        ({"scopes.a.clinet": "x"}, "--scopes-a-clinet: scopes.a.clinet: is no setting. Do you mean client?"),
        ({"usage.diff_budget": "x\ny\x1b" + "z" * 999}, r"usage.diff_budget: 'x\ny\x1bzzz"),
        ({"tls.certificate": "/no\nwhere"}, r"--tls-certificate: tls.certificate: there is no file /no\nwhere"),
    ],
)
def test_what_a_flag_gives_is_told_by_the_flag(conf: Path, flags: dict[str, str], told: str) -> None:
    given = [Setting(("scopes", "a", "conf"), conf, "settings.toml")]
    given += [
        Setting(tuple(key.split(".")), value, f"--{key.replace('.', '-').replace('_', '-')}")
        for key, value in flags.items()
    ]
    with pytest.raises(ConfigurationError) as refused:
        load(given)
    message = str(refused.value)
    assert told in message
    assert message.isprintable()
    assert len(message) < 250


class TestPaths:
    def test_of_a_file_are_from_its_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """All of them; those of flags and variables are from the working directory."""
        folder, elsewhere = tmp_path / "settings", tmp_path / "elsewhere"
        for each in (folder, elsewhere):
            (each / "in").mkdir(parents=True)
            for name in ("conf", "keyring", "pem", "key", "ca", "tokens", "jwks"):
                (each / "in" / name).touch(0o600)
        text = """
        auth.tokens = "in/tokens"
        audit.file = "in/audit.log"
        tls = { certificate = "in/pem", key = "./in/key", client_ca = "../settings/in/ca" }
        scopes.a = { conf = "in/conf", keyring = "in/keyring" }
        issuers.one = { issuer = "https://one", audience = "x", jwks = "in/jwks", jwks_ca = "in/ca" }
        issuers.two = { issuer = "https://two", audience = "x", jwks = "https://two/in/jwks" }
        """
        given = [*read_toml(folder, text), Setting(("audit", "file"), "in/other.log", "--audit-file")]
        monkeypatch.chdir(elsewhere)
        settings = load(given)
        assert settings.auth.tokens == folder / "in/tokens"
        assert settings.tls.certificate == folder / "in/pem"
        assert settings.tls.key == folder / "in/key"
        assert settings.tls.client_ca == folder / "../settings/in/ca"
        assert (settings.scopes["a"].conf, settings.scopes["a"].keyring) == (folder / "in/conf", folder / "in/keyring")
        assert settings.issuers["one"].jwks == str(folder / "in/jwks")
        assert settings.issuers["one"].jwks_ca == folder / "in/ca"
        assert settings.issuers["two"].jwks == "https://two/in/jwks"
        assert settings.audit.file == Path("in/other.log")

    def test_no_setting_is_left_out(self) -> None:
        """What can be a path is told by its type; a type with a path in another form would not be found."""
        names = {
            f"{section}.{name}"
            for section in Settings.model_fields
            for name, field in fields_of((section, "x")).items()
            if can_be_path(field)
        }
        assert names == {
            "audit.file",
            "auth.tokens",
            "issuers.jwks",
            "issuers.jwks_ca",
            "scopes.conf",
            "scopes.keyring",
            "tls.certificate",
            "tls.client_ca",
            "tls.key",
        }

    def test_of_a_pipe_are_from_the_working_directory(self, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As the shell's <(command) is, whose folder is /dev/fd."""
        ours, theirs = os.pipe()
        os.write(theirs, b'scopes.a.conf = "ceph.conf"')
        os.close(theirs)
        monkeypatch.chdir(conf.parent)
        try:
            assert load(read_file(Path(f"/dev/fd/{ours}"))).scopes["a"].conf == Path("ceph.conf")
        finally:
            os.close(ours)

    def test_of_a_linked_file_are_from_the_folder_of_the_link(self, tmp_path: Path, conf: Path) -> None:
        """So that a folder whose files are links, as Kubernetes makes them, is one folder."""
        data = tmp_path / "..data"
        data.mkdir()
        (data / "settings.toml").write_text('scopes.a.conf = "ceph.conf"')
        link = tmp_path / "settings.toml"
        link.symlink_to(data / "settings.toml")
        assert load(read_file(link)).scopes["a"].conf == conf


class TestDangers:
    """What is wrong with several settings together."""

    @pytest.mark.parametrize(
        ("http", "grpc"),
        [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("127.0.0.1:9000", "localhost:9000"),
            ("127.0.0.1:9000", "0.0.0.0:9000"),
            ("127.0.0.1:9000", "[::]:9000"),
            ("0.0.0.0:9000", "[::]:9000"),
            ("[::1]:9000", "localhost:9000"),
            ("[::1]:9000", "[::]:9000"),
            ("[::ffff:127.0.0.1]:9000", "127.0.0.1:9000"),
            ("one.example.com:9000", "one.example.com:9000"),
            ("unix:/run/x.sock", "unix:///run/./x.sock"),
        ],
    )
    def test_an_address_is_that_of_one_listener(self, tmp_path: Path, conf: Path, http: str, grpc: str) -> None:
        for one, other in ((http, grpc), (grpc, http)):
            text = f'insecure = true\n[listen]\nhttp = "{one}"\ngrpc = "{other}"\n[scopes.a]\nconf = "{conf}"\n'
            message = refusal(tmp_path, text)
            file = tmp_path / "settings.toml"
            assert message.startswith(f"{file}, line 4: listen.grpc: ")
            assert f"cannot be listened on beside {file}, line 3: listen.http, which is " in message
            assert message.endswith("; give each listener a port or a socket of its own.")

    @pytest.mark.parametrize(
        ("http", "grpc"),
        [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:9000", "127.0.0.1:9001"),
            ("127.0.0.1:9000", "127.0.0.2:9000"),
            ("127.0.0.1:9000", "[::1]:9000"),
            ("0.0.0.0:9000", "[::1]:9000"),
            ("unix:/run/x.sock", "unix:/run/y.sock"),
            ("unix:/run/x.sock", "127.0.0.1:9000"),
        ],
    )
    def test_two_addresses_that_can_be_listened_on(self, tmp_path: Path, conf: Path, http: str, grpc: str) -> None:
        text = f'insecure = true\n[listen]\nhttp = "{http}"\ngrpc = "{grpc}"\n[scopes.a]\nconf = "{conf}"\n'
        assert load_toml(tmp_path, text).listen.http.path is None or http.startswith("unix:")

    def test_a_default_has_no_place(self, tmp_path: Path, conf: Path) -> None:
        message = refusal(tmp_path, f'[listen]\nprobes = "127.0.0.1:8080"\n[scopes.a]\nconf = "{conf}"\n')
        assert message.startswith(f"{tmp_path}/settings.toml, line 2: listen.probes: 127.0.0.1:8080 cannot be")
        assert "beside listen.http, which is 127.0.0.1:8080" in message


@pytest.mark.parametrize(
    ("content", "remedy"),
    [(None, "cannot be read"), (b"\xff", "is not UTF-8"), (b"[listen\n", "is not TOML")],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes | None, remedy: str) -> None:
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        read_file(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_every_setting_has_a_description_and_stands_in_the_help() -> None:
    from rbd_connect.cli.main import main  # noqa: PLC0415 - only here

    text = CliRunner().invoke(main, ["serve", "--help"]).output
    for section, field in Settings.model_fields.items():
        if not isinstance(field.default, BaseModel):
            assert section in {"scopes", "issuers", "grants"} or f"--{section}" in text
            continue
        for key, setting in type(field.default).model_fields.items():
            assert f"--{section}-{key}".replace("_", "-") in text
            assert setting.description
