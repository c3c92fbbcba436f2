"""ListImages where a part of the cluster cannot be read: the other parts are listed, and in time."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, Call, Outcome, in_time
from support.images import MIB, NewImage
from support.places import add_to_directory, new_pools, rbd_bytes, sick
from support.printed import printed_image
from support.server import Held, Server, run_server, workers_of
from support.tools import Tools, frozen, write_scope
from support.waiting import wait_until

SECONDS = 12.0  # that a list may take where something hangs


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: its log, its worker and what hangs there are counted."""
    with run_server(tmp_path_factory.mktemp("parts"), write_scope("test", cluster)) as server:
        yield server


def listed(server: Server) -> Outcome:
    return in_time(server, {"scope": "test"}, "ListImages", SECONDS)


def images(server: Server) -> dict[tuple[str, str], dict[str, Any]]:
    outcome = listed(server)
    assert outcome.reply is not None, outcome
    return {(image["poolName"], image["name"]): image for image in outcome.reply.get("images", [])}


def by_name(pool: str, name: str) -> dict[str, str]:
    return {"name": name, "poolName": pool}


class TestNames:
    """Names that no call can give hide nothing else; the log tells them."""

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_beside_a_name_that_is_not_utf_8_all_others_are_listed(
        self, server: Server, cluster: DevCluster, tools: Tools, new_image: NewImage, call: Call
    ) -> None:
        pool = "with-odd-names"
        with new_pools(cluster, pool):
            rbd_bytes(cluster, b"create", b"--size=1M", b"with-odd-names/\xff\xfe")
            rbd_bytes(cluster, b"create", b"--size=1M", b"with-odd-names/a\xc3")
            rbd_bytes(cluster, b"namespace", b"create", b"--pool=with-odd-names", b"--namespace=\xf0odd")
            tools.rbd("namespace", "create", f"{pool}/even")
            rbd_bytes(cluster, b"create", b"--size=1M", b"with-odd-names/even/\x80")
            old = [b"create", b"--size=1M", b"--image-format=1", b"with-odd-names/old"]
            rbd_bytes(cluster, *old, RBD_FORCE_ALLOW_V1="1")
            plain = {
                (pool, new_image(pool=pool, written=MIB)),
                (f"{pool}/even", new_image(pool=pool, namespace="even")),
            }
            outcome = call(server, {"scope": "test"}, "ListImages")
            assert outcome.reply is not None, outcome
            found = {
                (image["poolName"], image["name"]): image
                for image in outcome.reply["images"]
                if image["poolName"].startswith(pool)
            }
            assert found.keys() == plain | {(pool, "old")}
            for place, name in plain:
                assert found[place, name] == printed_image(tools, place, name)
            assert found[pool, "old"]["quotaBytes"] == str(MIB)
            log = server.log.read_text()
            for told in (r"'\\xff\\xfe', 'a\\xc3'", r"'\\xf0odd'", r"namespace 'even' of pool 'with-odd-names'"):
                assert told in log

    def test_names_of_many_pages_are_all_listed(self, server: Server, cluster: DevCluster, tools: Tools) -> None:
        names = [b"made-%04d" % number for number in range(600)]
        with new_pools(cluster, "many"):
            with tools.ioctx("many") as ioctx:
                add_to_directory(ioctx, [*names, *(b"\xff%d" % number for number in range(300))])
            found = {name for pool, name in images(server) if pool == "many"}
            assert found == {name.decode() for name in names}
            told = [line for line in server.log.read_text().splitlines() if "of pool 'many'" in line]
            assert len(told) == 2
            assert max(map(len, told)) < 2048

    def test_a_pool_is_listed_by_the_name_that_it_has_now(
        self, server: Server, cluster: DevCluster, tools: Tools, new_image: NewImage
    ) -> None:
        with new_pools(cluster, "one", "other"):
            in_one, in_other = new_image(pool="one"), new_image(pool="other")
            assert images(server).keys() >= {("one", in_one), ("other", in_other)}
            for old, new in (("one", "third"), ("other", "one"), ("third", "other")):
                tools.ceph("osd", "pool", "rename", old, new)
            found = images(server)
            assert found.keys() >= {("other", in_one), ("one", in_other)}
            assert ("one", in_one) not in found

    def test_a_pool_whose_name_has_a_slash_is_not_another_pools_namespace(
        self, cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
    ) -> None:
        tokens = Tokens(tmp_path)
        team, slashed = tokens.new("team"), tokens.new("slashed")
        settings = (
            tokens.setting
            + write_scope("test", cluster)
            + grant("team", ["*"], pools="split", namespaces="team", scopes="*")
            + grant("slashed", ["*"], pools="split/team", scopes="*")
        )
        with new_pools(cluster, "split", "split/team"), run_server(tmp_path, settings) as server:
            tools.rbd("namespace", "create", "split/team")
            mine, not_mine = new_image(pool="split", namespace="team"), new_image(pool="split/team")
            for token, name in ((team, mine), (slashed, not_mine)):
                outcome = CALLS["connect"](server, {"scope": "test"}, "ListImages", bearer(token))
                assert outcome.reply is not None, outcome
                assert [image["name"] for image in outcome.reply["images"]] == [name]


class TestSick:
    """Placement groups that nobody serves."""

    def test_beside_a_sick_pool_all_others_are_listed_in_time_by_the_same_worker(
        self, server: Server, cluster: DevCluster, tools: Tools, new_image: NewImage
    ) -> None:
        whole = new_image(written=MIB)
        with new_pools(cluster, "sick"):
            tools.rbd("namespace", "create", "sick/team")
            hidden = {("sick", new_image(pool="sick")), ("sick/team", new_image(pool="sick", namespace="team"))}
            assert images(server).keys() >= hidden
            workers = workers_of(server)
            with sick(tools, "sick"):
                for _ in range(3):
                    found = images(server)
                    assert found["rbd", whole] == printed_image(tools, "rbd", whole)
                    assert not found.keys() & hidden
            # Operations that were given up by the list were done by now, and harm nobody.
            wait_until(lambda: images(server).keys() >= hidden)
            assert workers_of(server) == workers
            assert "the images of pool 'sick' are not listed" in server.log.read_text()
            assert "is blocklisted" not in server.log.read_text()

    def test_images_that_hang_are_known_by_name_and_hold_up_no_others(
        self, server: Server, cluster: DevCluster, tools: Tools, new_image: NewImage
    ) -> None:
        """More clones than threads, in two pools, of parents in two sick ones."""
        with new_pools(cluster, "parents-1", "parents-2", "clones-1", "clones-2"):
            clones: dict[tuple[str, str], None] = {}
            for number in (1, 2):
                clones |= dict.fromkeys(clone_often(tools, new_image, f"parents-{number}", f"clones-{number}", 10))
            beside = [(pool, new_image(pool=pool, written=MIB)) for pool in ("clones-1", "clones-2", "rbd")]
            assert images(server).keys() >= {*clones, *beside}
            workers, at_rest = workers_of(server), Held.by(server).threads
            with sick(tools, "parents-1", "parents-2"):
                threads = []
                for _ in range(2):
                    found = images(server)
                    for place, name in beside:
                        assert found[place, name] == printed_image(tools, place, name)
                    for place, name in clones:
                        assert found[place, name] == by_name(place, name)
                    threads.append(Held.by(server).threads)
                assert threads[0] <= at_rest + len(clones) + 16
                assert threads[1] <= threads[0] + 8
            wait_until(lambda: all("quotaBytes" in image for image in images(server).values()))
            assert workers_of(server) == workers

    def test_used_bytes_that_cannot_be_known_in_time_are_absent(
        self, server: Server, cluster: DevCluster, tools: Tools, new_image: NewImage
    ) -> None:
        """Without an object map the data is asked for, here in a sick pool."""
        with new_pools(cluster, "data"):
            names = [f"with-sick-data-{number}" for number in range(12)]
            for name in names:
                words = ("--size", "16M", "--data-pool", "data", "--image-feature", "layering")
                tools.rbd("create", *words, f"rbd/{name}")
                tools.rbd("snap", "create", "--no-progress", f"rbd/{name}@first")
            beside = new_image(written=MIB)
            whole = images(server)
            with sick(tools, "data"):
                for _ in range(2):
                    found = images(server)
                    assert found["rbd", beside] == printed_image(tools, "rbd", beside)
                    for name in names:
                        assert found["rbd", name] == without_usage(whole["rbd", name])
            for name in names:
                tools.delete(f"rbd/{name}")

    def test_where_nothing_answers_that_is_an_error_and_no_pool_is_named(
        self, cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
    ) -> None:
        cluster.create_user(
            "client.of-sick", mon="profile rbd", osd="profile rbd pool=hidden-1, profile rbd pool=hidden-2"
        )
        settings = write_scope("test", cluster, ['client = "client.of-sick"'])
        with new_pools(cluster, "hidden-1", "hidden-2"), run_server(tmp_path, settings) as server:
            names = {(pool, new_image(pool=pool)) for pool in ("hidden-1", "hidden-2")}
            assert images(server).keys() == names
            workers = workers_of(server)
            with sick(tools, "hidden-1", "hidden-2"):
                began = time.monotonic()
                outcome = listed(server)
                assert time.monotonic() - began < SECONDS
                assert (outcome.code, outcome.reason) == ("unavailable", "CEPH_TIMED_OUT")
                assert "hidden" not in str(outcome)
            wait_until(lambda: listed(server).reply)
            assert images(server).keys() == names
            assert workers_of(server) == workers

    def test_a_server_stops_at_once_although_something_hangs(
        self, cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
    ) -> None:
        with new_pools(cluster, "hangs"), run_server(tmp_path, write_scope("test", cluster)) as server:
            new_image(pool="hangs")
            with sick(tools, "hangs"):
                assert listed(server).reply is not None
                began = time.monotonic()
                server.process.terminate()
                assert server.process.wait(20) == 0
                assert time.monotonic() - began < 4.0


def clone_often(tools: Tools, new_image: NewImage, parents: str, clones: str, number: int) -> list[tuple[str, str]]:
    parent = new_image(pool=parents)
    with tools.ioctx(parents) as ioctx, tools.ioctx(clones) as to:
        with rbd.Image(ioctx, parent) as image:
            image.create_snap("first")
            image.protect_snap("first")
        names = [f"clone-{which:02}" for which in range(number)]
        for name in names:
            rbd.RBD().clone(ioctx, parent, "first", to, name)
    return [(clones, name) for name in names]


def without_usage(image: dict[str, Any]) -> dict[str, Any]:
    snapshots = [{key: value for key, value in each.items() if key != "usedBytes"} for each in image["snapshots"]]
    return {key: value for key, value in image.items() if key != "usedBytes"} | {"snapshots": snapshots}


@pytest.fixture(scope="module")
def made(cluster: DevCluster, tools: Tools, new_image: NewImage) -> Iterator[set[tuple[str, str]]]:
    """An image in each of two namespaces, and in the default one, of each of two pools."""
    with new_pools(cluster, "caps-1", "caps-2"):
        found = set()
        for pool in ("caps-1", "caps-2"):
            found.add((pool, new_image(pool=pool)))
            for namespace in ("a", "b"):
                tools.rbd("namespace", "create", f"{pool}/{namespace}")
                found.add((f"{pool}/{namespace}", new_image(pool=pool, namespace=namespace)))
        yield found


class TestCaps:
    """A Ceph user sees what he may, and the log tells the rest."""

    @pytest.mark.parametrize(
        ("osd", "named", "seen"),
        [
            ("profile rbd pool=caps-1", [], {"caps-1", "caps-1/a", "caps-1/b"}),
            ("profile rbd pool=caps-1 namespace=a", ["caps-1/a"], {"caps-1/a"}),
            ("profile rbd pool=caps-1 namespace=a", ["caps-1/a", "caps-1/b", "no-such/a"], {"caps-1/a"}),
            ('profile rbd pool=caps-1 namespace=""', [], {"caps-1"}),
            (
                'profile rbd pool=caps-1 namespace="", profile rbd pool=caps-1 namespace=b',
                ["caps-1/b"],
                {"caps-1", "caps-1/b"},
            ),
            (
                "profile rbd pool=caps-1 namespace=a, profile rbd pool=caps-2",
                ["caps-1/a"],
                {"caps-1/a", "caps-2", "caps-2/a", "caps-2/b"},
            ),
        ],
        ids=["a-pool", "a-namespace", "fewer-than-named", "the-default", "the-default-and-another", "of-two-pools"],
    )
    def test_what_a_user_may_read_is_listed_and_no_more(
        self,
        cluster: DevCluster,
        tmp_path: Path,
        made: set[tuple[str, str]],
        osd: str,
        named: list[str],
        seen: set[str],
    ) -> None:
        with server_of(cluster, tmp_path, osd, named) as server:
            found = images(server)
            assert found.keys() == {(place, name) for place, name in made if place in seen}
            assert all("quotaBytes" in image for image in found.values())

    def test_who_may_read_a_namespace_that_is_not_named_is_told_how_to_name_it(
        self, cluster: DevCluster, tmp_path: Path, made: set[tuple[str, str]]
    ) -> None:
        assert made
        with server_of(cluster, tmp_path, "profile rbd pool=caps-1 namespace=a", []) as server:
            outcome = listed(server)
            assert (outcome.code, outcome.reason) == ("permission_denied", "CEPH_CAPS_MISSING")
            assert "caps-1" not in str(outcome)
            assert "`namespaces` of the scope's settings, like 'caps-1/NAMESPACE'" in server.log.read_text()


def server_of(cluster: DevCluster, folder: Path, osd: str, namespaces: list[str]) -> AbstractContextManager[Server]:
    """A server whose Ceph user, who has the name of a folder, has some capabilities."""
    user = f"client.{folder.name}"
    cluster.create_user(user, mon="profile rbd", osd=osd)
    return run_server(folder, write_scope("test", cluster, [f'client = "{user}"', f"namespaces = {namespaces}"]))


def test_a_pool_that_is_deleted_while_it_is_listed_does_no_harm(
    server: Server, cluster: DevCluster, new_image: NewImage
) -> None:
    stays = new_image()
    deleted = threading.Event()

    def keep_listing() -> int:
        lists = 0
        while not deleted.is_set():
            assert ("rbd", stays) in images(server)
            lists += 1
        return lists

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            deleted.clear()
            cluster.create_pool("comes-and-goes")
            for _ in range(20):
                new_image(pool="comes-and-goes")
            listing = [pool.submit(keep_listing) for _ in range(2)]
            assert "comes-and-goes" in {place for place, _ in images(server)}
            cluster.delete_pool("comes-and-goes")
            assert "comes-and-goes" not in {place for place, _ in images(server)}
            deleted.set()
            assert all(each.result() for each in listing)


class TestPhases:
    """Where the time of a list went is in the log, for each who asked."""

    def test_all_who_share_a_list_are_told(self, server: Server, new_image: NewImage) -> None:
        new_image()
        before = len(lines_of_lists(server))
        with ThreadPoolExecutor(8) as pool:
            assert all(outcome.reply for outcome in pool.map(lambda _: listed(server), range(8)))
        told = lines_of_lists(server)[before:]
        assert len(told) == 8
        for line in told:
            assert "list " in line
            assert "images " in line

    def test_those_of_a_call_whose_deadline_passed_are_known_so_far_and_at_its_end(
        self, server: Server, cluster: DevCluster
    ) -> None:
        before = len(server.log.read_text())
        with frozen(cluster.osd):
            outcome = in_time(server, {"scope": "test"}, "ListImages", 3.0)
            assert outcome.code == "deadline_exceeded"
        assert outcome.metadata["request_id"]

        def ended() -> list[str]:
            new = server.log.read_text()[before:].splitlines()
            return [line for line in new if f"request {outcome.metadata['request_id']} ended" in line]

        wait_until(ended)
        (line,) = [line for line in lines_of_lists(server) if outcome.metadata["request_id"] in line]
        for text in (line, *ended()):
            assert re.search(r"[(,] ?list \d", text)


def lines_of_lists(server: Server) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if "ListImages" in line and " ms (" in line]
