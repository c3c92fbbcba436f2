"""Reloads that would open the server: a file of settings that is cut short anywhere gives nobody more than before."""

from itertools import product
from pathlib import Path

import pytest

from rbd_connect.auth.grants import Grants
from rbd_connect.auth.identity import Identity
from rbd_connect.config.access import ACTIONS
from rbd_connect.config.loading import ConfigurationError, load, read_file
from rbd_connect.config.origins import Setting
from rbd_connect.config.settings import Settings
from rbd_connect.model.names import ImageSpec
from rbd_connect.server.reload_guard import check_opens_nothing

# Each grant ends with what narrows it.
TEXT = """
[auth]
tokens = "TOKENS"

[issuers.sso]
issuer = "https://sso.example.com"
audience = "rbd-connect"
jwks = "https://sso.example.com/certs"
leeway = 0
required_claims = ["azp", "groups"]

[[grants]]
actions = ["list"]
scopes = "*"
pools = "*"
images = "*"
subjects = ["sso:*"]
issuer = "sso"
claims = { groups = ["ops"] }

[[grants]]
subjects = "alice"
actions = ["create"]
scopes = "*"
pools = "*"
images = "*"
namespaces = "team"

[subjects]
rate = 5
"""

CALLERS = [
    Identity(subject="alice", credential="token"),
    Identity(subject="bob", credential="token"),
    Identity(subject="sso:carol", credential="jwt", issuer="sso", claims={"groups": ["ops"]}),
    Identity(subject="sso:dave", credential="jwt", issuer="sso", claims={"groups": ["others"]}),
]
PLACES = [ImageSpec(scope="s", pool="p", namespace=namespace, image="i") for namespace in ("", "team", "other")]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    config = tmp_path / "settings.toml"
    config.write_text(TEXT.replace("TOKENS", str(tokens)))
    return config


def loaded(config: Path) -> Settings:
    """Load a file, with a scope that is given elsewhere."""
    conf = config.with_name("ceph.conf")
    conf.touch()
    return load([*read_file(config), Setting(("scopes", "test", "conf"), conf, "--scope")])


def granted(settings: Settings) -> set[tuple[str, str, str]]:
    grants = Grants(settings.grants)
    return {
        (caller.subject, action, place.namespace)
        for caller, action, place in product(CALLERS, ACTIONS, PLACES)
        if grants.of(caller).find(action, place)
    }


def test_a_file_that_is_cut_short_anywhere_gives_nobody_more(config: Path) -> None:
    text = config.read_text()
    before = loaded(config)
    assert len(granted(before)) == 2
    taken = 0
    for length in range(len(text)):
        config.write_text(text[:length])
        try:
            new = loaded(config)
            check_opens_nothing(before, new, was=text, now=text[:length])
        except ConfigurationError:
            continue
        taken += 1
        assert new.with_authentication
        assert granted(new) <= granted(before), text[:length]
        assert new.subjects == before.subjects
        assert all(one == before.issuers[name] for name, one in new.issuers.items())
    assert taken, "a file whose last tables were removed is taken"


def test_what_takes_authentication_away_is_refused(config: Path) -> None:
    before = loaded(config)
    text = config.read_text()
    for now in ("", "# nothing\n", "insecure = true\n", "[usage]\ndiff_budget = 1\n"):
        config.write_text(now)
        with pytest.raises(ConfigurationError, match="everybody would be let in without a credential"):
            check_opens_nothing(before, loaded(config), was=text, now=now)


def test_one_kind_of_credential_may_go_while_another_stays(config: Path) -> None:
    before = loaded(config)
    text = config.read_text()
    now = text.replace("[auth]", "#").replace("tokens =", "#")
    config.write_text(now)
    check_opens_nothing(before, loaded(config), was=text, now=now)


def test_what_is_meant_can_be_said(config: Path) -> None:
    before = loaded(config)
    text = config.read_text()
    now = text.removesuffix("\n[subjects]\nrate = 5\n")
    config.write_text(now)
    with pytest.raises(ConfigurationError, match="cut short in the middle of subjects"):
        check_opens_nothing(before, loaded(config), was=text, now=now)
    now += "# no limits\n"
    check_opens_nothing(before, loaded(config), was=text, now=now)


def test_authentication_may_begin(config: Path) -> None:
    text = config.read_text()
    after = loaded(config)
    config.write_text("")
    check_opens_nothing(loaded(config), after, was="", now=text)
