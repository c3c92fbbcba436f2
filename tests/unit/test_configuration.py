"""Settings: flags over environment over file, and one line for whatever is wrong."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from rbd_connect.configuration import ConfigurationError, Setting, load, read_file
from rbd_connect.setting_types import Address
from rbd_connect.settings import Settings


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
        ("[listen]\nhtpp = 1", "listen.htpp", "Known here: http"),
        ("[lisen]\nhttp = 1", "lisen", "Known here: listen"),
        ("[scopes.a]\nkeyrnig = 1", "scopes.a.conf", "is required"),
        ("[scopes.a]", "scopes.a.conf", "is required"),
        ("listen = 5", "listen", "must be a table"),
        ("scopes = 5", "scopes", "must be a table"),
        ('[listen]\nhttp = "8080"', "listen.http", "HOST:PORT"),
        ('[listen]\nhttp = "127.0.0.1"', "listen.http", "HOST:PORT"),
        ('[listen]\nhttp = "127.0.0.1:99999"', "listen.http", "HOST:PORT"),
        ('[listen]\nhttp = "http://127.0.0.1:80"', "listen.http", "HOST:PORT"),
        ("[listen]\nhttp = 8080", "listen.http", "HOST:PORT"),
        ("[usage]\ndiff_budget = -1", "usage.diff_budget", "greater than or equal to 0"),
        ('[usage]\ndiff_budget = "many"', "usage.diff_budget", "integer"),
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
        ('client = "rbd-connect"', "scopes.a.client", "like client.rbd-connect"),
        ('keyring = "/nowhere/keyring"', "scopes.a.keyring", "there is no file"),
        ('namespaces = ["rbd"]', "scopes.a.namespaces.0", "write POOL/NAMESPACE, like rbd/team"),
        ('namespaces = "rbd/a, rbd/b/c"', "scopes.a.namespaces.1", "write POOL/NAMESPACE, like rbd/team"),
        ("colour = 1", "scopes.a.colour", "Known here: conf, client, keyring"),
    ],
)
def test_a_wrong_setting_of_a_scope(tmp_path: Path, conf: Path, line: str, key: str, remedy: str) -> None:
    message = refusal(tmp_path, f'[scopes.a]\nconf = "{conf}"\n{line}\n')
    assert f" {key}: " in message
    assert remedy in message


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
    from rbd_connect.cli import main  # noqa: PLC0415 - only here

    text = CliRunner().invoke(main, ["serve", "--help"]).output
    for section, field in Settings.model_fields.items():
        if not isinstance(field.default, BaseModel):
            assert section in {"scopes", "issuers", "grants"} or f"--{section}" in text
            continue
        for key, setting in type(field.default).model_fields.items():
            assert f"--{section}-{key}".replace("_", "-") in text
            assert setting.description
