"""Grants, tokens and places: what is granted, what is told of the rest, and who has how much."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rbd_connect.auth import tokens
from rbd_connect.auth.authentication import PeerConnection
from rbd_connect.auth.explain import Question, explain
from rbd_connect.auth.grants import EVERYTHING, Granted, Grants
from rbd_connect.auth.identity import ANYBODY, Identity, NotVerifiedError, UnauthenticatedError
from rbd_connect.auth.policy import Policy
from rbd_connect.auth.redaction import without_hidden
from rbd_connect.auth.subject_limits import SubjectLimits
from rbd_connect.config.access import ACTIONS, Action, AuthSettings, GrantSettings, SubjectSettings
from rbd_connect.config.loading import load, read_file
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import (
    InTheWayError,
    NotFoundError,
    PreconditionViolation,
    RetryableError,
    ServiceError,
    StartError,
)
from rbd_connect.model.names import ImageSpec, ScopeSpec

GRANT = {"subjects": "alice", "actions": "*", "scopes": "*", "pools": "*", "namespaces": "*", "images": "*"}
ISSUER = {"issuer": "https://sso.example.com", "audience": "rbd-connect", "jwks": "https://sso.example.com/certs"}


def granted(*grants: Mapping[str, Any], subject: str = "alice", **identity: Any) -> Granted:  # noqa: ANN401
    settings = [GrantSettings.model_validate({**GRANT, **grant}) for grant in grants]
    return Grants(settings).of(Identity(subject=subject, credential="none", **identity))


def image(name: str = "image", pool: str = "rbd", namespace: str = "", scope: str = "prod") -> ImageSpec:
    return ImageSpec(scope=scope, pool=pool, namespace=namespace, image=name)


def told(by: Granted, action: Action, spec: ScopeSpec) -> str:
    with pytest.raises(ServiceError) as refused:
        by.check(action, spec)
    return refused.value.reason


class TestGrants:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_nothing_is_granted_unless_it_is(self, action: Action) -> None:
        assert told(granted(), action, image()) == "SCOPE_NOT_FOUND"
        assert told(granted({"subjects": "bob"}), action, image()) == "SCOPE_NOT_FOUND"
        granted({}).check(action, image())
        EVERYTHING.check(action, image())

    def test_an_action_is_granted_by_itself(self) -> None:
        by = granted({"actions": ("create", "image.*")})
        allowed = {action for action in ACTIONS if by.find(action, image())}
        assert allowed == {"create", "image.create", "image.update", "image.delete"}
        assert told(by, "delete", image()) == "NOT_GRANTED"

    @pytest.mark.parametrize(
        ("pattern", "names", "others"),
        [
            ("vm-*", ["vm-", "vm-1", "vm-*"], ["vm", "xvm-1", "VM-1", "vm\u20101", "\uff56m-1"]),
            ("vm-?", ["vm-1"], ["vm-", "vm-12"]),
            ("vm-[0-9]", ["vm-1"], ["vm-a", "vm-[0-9]"]),
            ("a.c", ["a.c"], ["abc"]),
            ("*", ["vm", "vm\n", "..", "a/b"], []),
            ("vm", ["vm"], ["vm\n", "vm\x00", " vm", "vm ", "v*", "*", "vm.."]),
        ],
    )
    def test_names_are_globs_of_the_settings_and_never_of_the_caller(
        self, pattern: str, names: list[str], others: list[str]
    ) -> None:
        by = granted({"images": pattern})
        assert [name for name in [*names, *others] if by.find("list", image(name))] == names

    @given(st.text(max_size=20))
    def test_a_name_without_a_glob_is_only_itself(self, name: str) -> None:
        assert bool(granted({"images": "vm-1"}).find("list", image(name))) == (name == "vm-1")

    def test_a_namespace_is_granted_by_itself_and_the_default_one_unless_it_is_said(self) -> None:
        usual = GrantSettings(subjects=("alice",), actions=("*",), scopes=("*",), pools=("*",), images=("*",))
        by = Grants([usual]).of(Identity(subject="alice", credential="none"))
        by.check("create", image())
        assert told(by, "create", image(namespace="team")) == "NAMESPACE_NOT_FOUND"
        team = granted({"namespaces": "team"})
        team.check("create", image(namespace="team"))
        assert told(team, "create", image()) == "IMAGE_NOT_FOUND"

    def test_what_may_not_be_seen_is_told_as_what_does_not_exist(self) -> None:
        by = granted({"scopes": "prod", "pools": "rbd", "namespaces": "", "images": "vm-*", "actions": "list"})
        for action in ACTIONS:
            assert told(by, action, image(scope="lab")) == "SCOPE_NOT_FOUND"
            assert told(by, action, image(pool="other")) == "POOL_NOT_FOUND"
            assert told(by, action, image(namespace="other")) == "NAMESPACE_NOT_FOUND"
        assert told(by, "delete", image("secret")) == "IMAGE_NOT_FOUND"
        assert told(by, "delete", image("vm-1")) == "NOT_GRANTED"
        assert told(by, "image.create", image("secret")) == "NOT_GRANTED"
        with pytest.raises(NotFoundError, match=r"There is no image 'secret' in pool 'rbd'\."):
            by.check("delete", image("secret"))

    def test_two_grants_do_not_make_a_third(self) -> None:
        by = granted({"pools": "a", "images": "x"}, {"pools": "b", "images": "y", "actions": "list"})
        assert told(by, "delete", image("y", pool="b")) == "NOT_GRANTED"
        assert told(by, "list", image("y", pool="a")) == "IMAGE_NOT_FOUND"
        assert told(by, "list", image("x", pool="b")) == "IMAGE_NOT_FOUND"

    def test_lists_show_what_is_granted_to_be_listed(self) -> None:
        by = granted({"actions": "list", "pools": "a", "images": "x*"}, {"actions": "delete", "pools": "b"})
        assert [pool for pool in "abc" if by.lists_pool("prod", pool)] == ["a"]
        assert [name for name in ("x1", "y") if by.lists_image(image(name, pool="a"))] == ["x1"]
        assert not by.lists_image(image(pool="b"))
        by.check("list", ScopeSpec(scope="prod"))
        assert told(granted({"actions": "delete"}), "list", ScopeSpec(scope="prod")) == "NOT_GRANTED"

    def test_claims_are_those_of_the_issuer_that_is_meant(self) -> None:
        grant = {"subjects": (), "issuer": "sso", "claims": {"groups": ["ops", "dev"], "realm.roles": "admin"}}
        claims = {"groups": ["x", "ops"], "realm": {"roles": ["admin"]}}
        granted(grant, issuer="sso", claims=claims).check("create", image())
        for issuer, wrong in (
            ("other", claims),
            (None, claims),
            ("sso", {**claims, "groups": ["x"]}),
            ("sso", {**claims, "groups": {"ops": True}}),
            ("sso", {"groups": "ops"}),
            ("sso", {**claims, "realm": "admin"}),
        ):
            assert told(granted(grant, issuer=issuer, claims=wrong), "create", image()) == "SCOPE_NOT_FOUND"

    def test_subjects_of_tokens_and_of_issuers_are_never_the_same(self) -> None:
        assert granted({"subjects": "sso:*"}, subject="sso:alice").find("list", image())
        assert granted({"subjects": "alice"}, subject="sso:alice").find("list", image()) is None
        with pytest.raises(StartError):
            tokens.new_token("sso:alice", None)

    @pytest.mark.parametrize(
        ("grant", "meant", "others"),
        [
            ({"subjects": "*-ops"}, ["x-ops"], ["idp:evil-ops", "sso:x-ops"]),
            ({"subjects": "*"}, ["alice"], ["idp:alice"]),
            ({"subjects": "?*"}, ["alice"], ["idp:alice"]),
            ({"subjects": "[!x]*"}, ["alice"], ["idp:alice"]),
            ({"subjects": "sso*"}, ["ssoalice"], ["sso:alice"]),
            ({"subjects": "sso:*-ops"}, ["sso:x-ops"], ["x-ops", "idp:sso:x-ops", "idp:x-ops", "ssox:x-ops"]),
            ({"subjects": "*:alice"}, [], ["sso:alice", "alice", "idp:alice"]),
            ({"subjects": "s?o:*"}, [], ["sso:alice"]),
            ({"subjects": "[a-z:]*"}, [], ["sso:alice", "alice"]),
            ({"subjects": "k8s:system:*:ns:*"}, ["k8s:system:serviceaccount:ns:job"], ["k8s:system:x:other:job"]),
            ({"subjects": ":x"}, [], ["x", "sso:x"]),
        ],
    )
    def test_subjects_are_patterns_for_one_issuer_or_for_tokens(
        self, grant: Mapping[str, Any], meant: list[str], others: list[str]
    ) -> None:
        found = [each for each in [*meant, *others] if granted(grant, subject=each).find("list", image())]
        assert found == meant

    def test_a_grant_with_an_issuer_is_for_its_subjects(self) -> None:
        grant = {"issuer": "sso", "claims": {"groups": "ops"}}
        for subjects, name, is_meant in (
            ("*-ops", "sso:x-ops", True),
            ("sso:*-ops", "sso:x-ops", True),
            ("x:*-ops", "sso:x:a-ops", True),
            ("idp:*", "sso:x-ops", False),
            ("alice", "sso:sso:alice", False),
        ):
            by = granted({**grant, "subjects": subjects}, subject=name, issuer="sso", claims={"groups": ["ops"]})
            assert bool(by.find("list", image())) == is_meant, (subjects, name)
        assert not granted({**grant, "subjects": "*"}, subject="x-ops", claims={"groups": ["ops"]}).find(
            "list", image()
        )

    @pytest.mark.parametrize("name", ["scope", "scp", "realm.scope"])
    def test_a_scope_is_a_set_of_words(self, name: str) -> None:
        grant = {"subjects": (), "issuer": "sso", "claims": {name: "snapshots:write"}}

        def is_granted(value: object) -> bool:
            claims = {"realm": {"scope": value}} if "." in name else {name: value}
            return granted(grant, subject="sso:a", issuer="sso", claims=claims).find("list", image()) is not None

        value: object
        for value in ("openid snapshots:write", "snapshots:write", ["openid", "snapshots:write"]):
            assert is_granted(value)
        for value in ("snapshots:writer", "snapshots", "", None, 5, {"snapshots:write": 1}, ["openid snapshots:write"]):
            assert not is_granted(value)

    def test_other_claims_are_whole_strings(self) -> None:
        grant = {"subjects": (), "issuer": "sso", "claims": {"groups": "ops"}}
        by = granted(grant, subject="sso:a", issuer="sso", claims={"groups": "x ops"})
        assert by.find("list", image()) is None

    @pytest.mark.parametrize(
        ("wrong", "problem"),
        [
            ({"subjects": ()}, "to whom"),
            ({"issuer": "sso"}, "go together"),
            ({"claims": {"groups": "ops"}}, "go together"),
            ({"actions": "creat"}, "Input should be"),
            ({"actions": ()}, "at least 1"),
            ({"pools": ""}, "at least 1"),
        ],
    )
    def test_a_grant_that_says_too_little_is_refused(self, wrong: Mapping[str, Any], problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            granted(wrong)


class TestHiding:
    LEAD = "The snapshot has clones; flatten or delete them first:"
    CLONES = tuple(
        PreconditionViolation(kind="CLONE", subject="/".join(filter(None, which)), description="", image=which)
        for which in (("rbd", "", "seen"), ("secret", "", "clone"), ("rbd", "team", "hidden"))
    )

    def test_clones_that_may_not_be_seen_are_counted_and_not_named(self) -> None:
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, self.CLONES)
        shown = without_hidden(error, "prod", granted({"pools": "rbd", "namespaces": ""}))
        assert isinstance(shown, InTheWayError)
        assert [violation.subject for violation in shown.violations] == ["rbd/seen"]
        assert shown.message == f"{self.LEAD} rbd/seen, and 2 that you may not see."

    def test_where_all_are_hidden_there_are_some_all_the_same(self) -> None:
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, self.CLONES[1:])
        shown = without_hidden(error, "prod", granted({"pools": "x"}))
        assert shown.message == f"{self.LEAD} 2 that you may not see."

    def test_a_clone_is_hidden_by_its_pool_and_not_by_how_names_are_joined(self) -> None:
        clone = PreconditionViolation(
            kind="CLONE", subject="rbd/team/clone", description="", image=("rbd/team", "", "clone")
        )
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, [clone])
        shown = without_hidden(error, "prod", granted({"pools": "rbd", "namespaces": "team"}))
        assert shown.message == f"{self.LEAD} 1 that you may not see."
        assert without_hidden(error, "prod", granted({"pools": "rbd/team", "namespaces": ""})) is error

    def test_other_obstacles_are_not_hidden(self) -> None:
        snapshot = PreconditionViolation(kind="TRASH_SNAPSHOT", subject="first", description="")
        error = InTheWayError("IMAGE_HAS_SNAPSHOTS", "The image has snapshots:", [snapshot, *self.CLONES])
        shown = without_hidden(error, "prod", granted({"pools": "rbd", "namespaces": ""}))
        assert shown.message == "The image has snapshots: first and rbd/seen, and 2 that you may not see."

    def test_who_may_see_all_sees_all(self) -> None:
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, self.CLONES)
        assert without_hidden(error, "prod", EVERYTHING) is error


class TestTokens:
    def test_a_token_names_its_subject_until_it_expires(self) -> None:
        token, entry = tokens.new_token("alice", timedelta(days=1))
        assert tokens.Tokens([entry]).identity(token).subject == "alice"
        old = entry.model_copy(update={"expires": datetime.now(UTC)})
        with pytest.raises(NotVerifiedError, match="expired"):
            tokens.Tokens([old]).identity(token)
        with pytest.raises(NotVerifiedError, match="there is no token"):
            tokens.Tokens([]).identity(token)

    def test_each_is_another(self) -> None:
        assert len({tokens.new_token("alice", None)[0] for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("2001:db8::1", False),
        ("0.0.0.0", False),  # noqa: S104 - it is no address of a peer
        ("", False),
        ("localhost.example.com", False),
    ],
)
def test_a_token_is_taken_from_this_machine_or_by_tls(tmp_path: Path, host: str, is_private: bool) -> None:  # noqa: FBT001
    token, entry = tokens.new_token("alice", None)
    path = tmp_path / "tokens"
    tokens.add(path, entry)
    settings = Settings(scopes={}, auth=AuthSettings(tokens=path))

    def is_taken(settings: Settings, connection: PeerConnection) -> bool:
        try:
            return asyncio.run(Policy(settings).identity([f"Bearer {token}"], connection)).subject == "alice"
        except UnauthenticatedError:
            return False

    assert is_taken(settings, PeerConnection(host, with_tls=False)) == is_private
    assert is_taken(settings, PeerConnection(host, with_tls=True))
    assert is_taken(settings.model_copy(update={"insecure": True}), PeerConnection(host, with_tls=False))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"grants": [GRANT]}, "grants: are to nobody"),
        (
            {"issuers": {"sso": ISSUER}, "grants": [{**GRANT, "issuer": "ssso", "claims": {"groups": "ops"}}]},
            r"\[\[grants\]\] number 1: issuer: there is no issuers.ssso. Do you mean sso\?",
        ),
        ({"issuers": {"sso": ISSUER, "again": ISSUER}}, "issuers.again.issuer: is that of issuers.sso"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings.model_validate({"scopes": {}, **settings})


class TestPlaces:
    def test_who_has_all_his_places_must_wait_and_nobody_else(self) -> None:
        places = SubjectLimits(SubjectSettings(in_flight=2))
        place = places.acquire("alice")
        places.acquire("alice")
        with pytest.raises(RetryableError) as refused:
            places.acquire("alice")
        assert refused.value.reason == "SUBJECT_BUSY"
        places.acquire("bob")
        place.release()
        place.release()
        places.acquire("alice")
        with pytest.raises(RetryableError):
            places.acquire("alice")

    def test_a_rate_lets_as_many_begin_as_it_says(self) -> None:
        places = SubjectLimits(SubjectSettings(in_flight=1000, rate=50))
        for _ in range(50):
            places.acquire("alice")
        with pytest.raises(RetryableError) as refused:
            places.acquire("alice")
        assert refused.value.reason == "SUBJECT_RATE"
        assert refused.value.seconds is not None
        assert 0 < refused.value.seconds <= 1 / 50
        time.sleep(refused.value.seconds)  # the time is what is told
        places.acquire("alice")

    def test_nothing_is_kept_of_those_who_are_still(self) -> None:
        places = SubjectLimits(SubjectSettings())
        for number in range(10):
            places.acquire(str(number)).release()
        places._forget(time.monotonic() + 2)  # noqa: SLF001 - what it keeps
        assert not places._of  # noqa: SLF001 - as above


class TestExplaining:
    CONFIG = """
    [auth]
    tokens = "TOKENS"

    [[grants]] # for nobody here
    subjects = "bob"
    actions = "*"
    scopes = "*"
    pools = "*"
    images = "*"

    [[grants]]
    subjects = ["alice", "sso:*"]
    actions = ["create", "list"]
    scopes = "prod"
    pools = "rbd"
    images = "vm-*"
    """

    def explained(self, folder: Path, subject: str, action: Action, place: str) -> tuple[bool, str]:
        config = folder / "settings.toml"
        config.write_text(self.CONFIG)
        (folder / "TOKENS").touch(0o600)
        settings = load(read_file(config), ceph_folder=None)
        question = Question(subject=subject, action=action, place=place, claims=())
        explanation = explain(settings, config, question)
        return explanation.is_granted, explanation.text

    def test_the_line_that_grants_it_is_named(self, tmp_path: Path) -> None:
        for subject in ("alice", "sso:carol"):
            is_granted, text = self.explained(tmp_path, subject, "create", "prod/rbd/vm-1")
            assert is_granted
            assert f"{tmp_path}/settings.toml, line 12: [[grants]] number 2" in text

    @pytest.mark.parametrize(
        ("action", "place", "answer"),
        [
            ("delete", "prod/rbd/vm-1", "permission_denied, NOT_GRANTED"),
            ("create", "prod/rbd/other", "not_found, IMAGE_NOT_FOUND"),
            ("create", "prod/rbd/team/vm-1", "not_found, NAMESPACE_NOT_FOUND"),
            ("create", "lab/rbd/vm-1", "not_found, SCOPE_NOT_FOUND"),
        ],
    )
    def test_what_is_not_granted_comes_with_the_answer(
        self, tmp_path: Path, action: Action, place: str, answer: str
    ) -> None:
        is_granted, text = self.explained(tmp_path, "alice", action, place)
        assert not is_granted
        assert answer in text

    @pytest.mark.parametrize("place", ["", "prod", "prod/rbd", "/rbd/vm", "prod//vm", "prod/a/b/c/d"])
    def test_what_is_no_place_is_said(self, tmp_path: Path, place: str) -> None:
        with pytest.raises(StartError, match="is no place"):
            self.explained(tmp_path, "alice", "create", place)


def test_without_authentication_everybody_is_anybody() -> None:
    policy = Policy(Settings(scopes={}))
    assert asyncio.run(policy.identity([], PeerConnection("127.0.0.1", with_tls=False))) is ANYBODY
    assert policy.granted(ANYBODY) is EVERYTHING
