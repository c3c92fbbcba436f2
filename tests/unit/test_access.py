"""Grants, tokens and places: what is granted, what is told of the rest, and who has how much."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.access import tokens
from rbd_connect.access.grants import EVERYTHING, Granted, Grants
from rbd_connect.access.hiding import without_hidden
from rbd_connect.access.identity import Identity
from rbd_connect.access.settings import ACTIONS, Action, GrantSettings
from rbd_connect.errors import InTheWayError, NotFoundError, Obstacle, ServiceError, StartError
from rbd_connect.spec import ImageSpec, ScopeSpec

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
        Obstacle(kind="CLONE", subject="/".join(filter(None, which)), description="", image=which)
        for which in (("rbd", "", "seen"), ("secret", "", "clone"), ("rbd", "team", "hidden"))
    )

    def test_clones_that_may_not_be_seen_are_counted_and_not_named(self) -> None:
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, self.CLONES)
        shown = without_hidden(error, "prod", granted({"pools": "rbd", "namespaces": ""}))
        assert isinstance(shown, InTheWayError)
        assert [obstacle.subject for obstacle in shown.obstacles] == ["rbd/seen"]
        assert shown.message == f"{self.LEAD} rbd/seen, and 2 that you may not see."

    def test_where_all_are_hidden_there_are_some_all_the_same(self) -> None:
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, self.CLONES[1:])
        shown = without_hidden(error, "prod", granted({"pools": "x"}))
        assert shown.message == f"{self.LEAD} 2 that you may not see."

    def test_a_clone_is_hidden_by_its_pool_and_not_by_how_names_are_joined(self) -> None:
        clone = Obstacle(kind="CLONE", subject="rbd/team/clone", description="", image=("rbd/team", "", "clone"))
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, [clone])
        shown = without_hidden(error, "prod", granted({"pools": "rbd", "namespaces": "team"}))
        assert shown.message == f"{self.LEAD} 1 that you may not see."
        assert without_hidden(error, "prod", granted({"pools": "rbd/team", "namespaces": ""})) is error

    def test_other_obstacles_are_not_hidden(self) -> None:
        snapshot = Obstacle(kind="TRASH_SNAPSHOT", subject="first", description="")
        error = InTheWayError("IMAGE_HAS_SNAPSHOTS", "The image has snapshots:", [snapshot, *self.CLONES])
        shown = without_hidden(error, "prod", granted({"pools": "rbd", "namespaces": ""}))
        assert shown.message == "The image has snapshots: first and rbd/seen, and 2 that you may not see."

    def test_who_may_see_all_sees_all(self) -> None:
        error = InTheWayError("SNAPSHOT_HAS_CLONES", self.LEAD, self.CLONES)
        assert without_hidden(error, "prod", EVERYTHING) is error
