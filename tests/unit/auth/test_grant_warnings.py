"""What can be in force and means nothing: it is warned of, by its line, with what may be meant."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from rbd_connect.auth.explain import Question, doubts
from rbd_connect.auth.grant_warnings import grant_doubts, names_pools, pool_doubts
from rbd_connect.config.loading import load, read_file
from rbd_connect.config.options import unknown_variables
from rbd_connect.config.settings import Settings

SECOND = "[[grants]] number 2"
NO_SCOPE = "no scope, so it grants nothing"


def settings_of(folder: Path, *grants: Mapping[str, object], scopes: tuple[str, ...] = ("prod", "lab")) -> Settings:
    """Settings with grants, four lines each from the third line on: header, subjects, scopes, pools."""
    (folder / "tokens").touch(0o600)
    (folder / "ceph.conf").touch()
    lines = ['auth.tokens = "tokens"', "scopes = { " + ", ".join(f'{one} = {{ conf = "ceph.conf" }}' for one in scopes)]
    lines[-1] += " }"
    for grant in grants:
        lines += [
            "[[grants]]",
            f"subjects = {grant.get('subjects', ['alice'])}",
            f"scopes = {json.dumps(grant.get('scopes', ['prod']))}",
            f"pools = {grant.get('pools', ['*'])}",
            'actions = "*"',
            'images = "*"',
        ]
    path = folder / "settings.toml"
    path.write_text("\n".join(lines))
    return load(read_file(path), ceph_folder=None)


def told(folder: Path, doubts: object) -> list[str]:
    assert isinstance(doubts, list)
    return [str(doubt).replace(f"{folder}/", "") for doubt in doubts]


class TestGrants:
    def test_that_can_be_meant_are_not_told_of(self, tmp_path: Path) -> None:
        settings = settings_of(
            tmp_path, {"scopes": ["prod", "la?", "*"], "pools": ["rbd", "*"]}, {"subjects": ["alice", "*"]}
        )
        assert list(grant_doubts(settings, settings.scopes)) == []

    @pytest.mark.parametrize(
        ("grant", "doubt"),
        [
            ({"scopes": ["prod", "prdo"]}, f"line 11: {SECOND}: scopes: 'prdo' is {NO_SCOPE}. Do you mean prod?"),
            ({"scopes": ["x-*"]}, f"line 11: {SECOND}: scopes: 'x-*' matches {NO_SCOPE}. The scopes are lab, prod"),
            ({"pools": ["rbd/team"]}, f"line 12: {SECOND}: pools: 'rbd/team' is no pool, so it grants nothing. A name"),
            ({"subjects": ["ssso:bob"]}, f"line 10: {SECOND}: subjects: 'ssso:bob' is for nobody: there is no issuers"),
            ({"scopes": ["\n" + "x" * 200]}, rf"{SECOND}: scopes: '\nxxxxx"),
        ],
    )
    def test_that_give_nothing_are_told_of(self, tmp_path: Path, grant: Mapping[str, object], doubt: str) -> None:
        settings = settings_of(tmp_path, {}, grant)
        (text,) = told(tmp_path, list(grant_doubts(settings, settings.scopes)))
        assert doubt in text
        assert text.isprintable()
        assert len(text) < 250

    def test_of_scopes_that_are_not_known_nothing_is_told(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path, {"scopes": ["prdo"]}, scopes=())
        assert list(grant_doubts(settings, settings.scopes)) == []

    def test_there_are_none(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path)
        assert "nothing is granted to anybody" in next(grant_doubts(settings, settings.scopes))


class TestPools:
    def test_that_no_scope_has(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path, {"pools": ["rdb", "vms-*"]}, {"scopes": ["*"], "pools": ["rbd", "images"]})
        assert names_pools(settings) == {"prod", "lab"}
        first = "settings.toml, line 6: [[grants]] number 1: pools: "
        end = "in scope 'prod', so it grants nothing yet."
        assert told(tmp_path, list(pool_doubts(settings, {"prod": ["rbd", "cephfs"]}))) == [
            f"{first}'rdb' is no pool {end} Do you mean rbd?",
            f"{first}'vms-*' matches no pool {end} The pools are cephfs, rbd",
        ]
        *_, last = told(tmp_path, list(pool_doubts(settings, {"prod": ["rbd"], "lab": ["vms"]})))
        assert last.startswith(
            f"settings.toml, line 12: {SECOND}: pools: 'images' is no pool in scopes 'lab', 'prod', "
        )

    @pytest.mark.parametrize("pools", [["*"], ["**"], ["rbd/team"]])
    def test_are_not_asked_for_where_none_can_be_missing(self, tmp_path: Path, pools: list[str]) -> None:
        settings = settings_of(tmp_path, {"pools": pools})
        assert names_pools(settings) == set()
        assert list(pool_doubts(settings, {"prod": [], "lab": []})) == []

    def test_many_are_not_all_named(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path, {"pools": ["x"]})
        (text,) = pool_doubts(settings, {"prod": [f"pool-{number}" for number in range(200)], "lab": []})
        assert text.endswith(" and 190 more")


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("RBD_CONNECT_LISTN_HTTP", "is no setting. Do you mean RBD_CONNECT_LISTEN_HTTP?"),
            ("RBD_CONNECT_SCOPE", "is no setting. Do you mean RBD_CONNECT_SCOPES?"),
            ("RBD_CONNECT_CONFIGG", "is no setting. Do you mean RBD_CONNECT_CONFIG?"),
            ("RBD_CONNECT_WEATHER_ZZZ", "is no setting. `rbd-connect serve --help` lists those that are"),
        ],
    )
    def test_that_mean_nothing_are_told_of(self, name: str, problem: str) -> None:
        assert list(unknown_variables({name: "1"})) == [f"variable {name}: {problem}"]

    def test_that_mean_something_are_not(self) -> None:
        names = ["CONFIG", "SCOPES", "INSECURE", "LISTEN_HTTP", "AUTH_TOKENS", "CALLS_WAITING_PER_IMAGE"]
        assert list(unknown_variables({f"RBD_CONNECT_{name}": "1" for name in names} | {"PATH": "x"})) == []

    def test_that_kubernetes_makes_are_not(self) -> None:
        """Of a service that is called rbd-connect."""
        names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR"]
        assert list(unknown_variables({f"RBD_CONNECT_{name}": "1" for name in names})) == []


class TestExplaining:
    def asked(self, settings: Settings, place: str, default_scopes: tuple[str, ...] = ()) -> list[str]:
        question = Question(subject="alice", action="list", place=place, claims=())
        return list(doubts(settings, question, default_scopes))

    def test_tells_of_a_scope_that_there_is_not(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path, {"scopes": ["*"]})
        assert self.asked(settings, "prod/rbd/image") == []
        assert self.asked(settings, "prdo/rbd/image") == ["'prdo' is no scope. Do you mean prod?"]

    def test_of_settings_that_name_none_takes_those_of_the_machine(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path, {"scopes": ["cehp"]}, scopes=())
        assert self.asked(settings, "ceph/rbd/image") == []
        (text,) = self.asked(settings, "ceph/rbd/image", ("ceph",))
        assert text.endswith("'cehp' is no scope, so it grants nothing. Do you mean ceph?")
