"""Errors, each provoked for real: code, reason, details, and nothing of a library's text or of the machine."""

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import rados
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CLIENTS, Client, Outcome, create, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, frozen, kill_lock_owner, write_scope
from support.waiting import wait_until

every_client = pytest.mark.parametrize("client", [pytest.param(client, id=name) for name, client in CLIENTS.items()])


def place(body: dict[str, str]) -> dict[str, str]:
    """The place of an error, as ErrorInfo's metadata has it."""
    return {
        "scope": body["scope"],
        "pool": body["poolName"],
        "image": body["imageName"],
        "snapshot": body["snapshotName"],
    }


def assert_error(outcome: Outcome, body: dict[str, str], code: str, reason: str, errno: str | None = None) -> None:
    assert (outcome.code, outcome.reason, outcome.metadata.get("errno")) == (code, reason, errno)
    assert outcome.details["ErrorInfo"]["domain"] == "rbd-connect"
    assert place(body).items() <= outcome.metadata.items()
    for leak in ("errno", "RADOS", "RBD ", "librbd", "/", "127.0.0.1", "Traceback", "error opening"):
        assert leak not in outcome.message


@every_client
@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        (request("rbd", "i", "s", scope="nowhere"), "scope", "nowhere"),
        (request("nowhere", "i", "s"), "pool", "nowhere"),
        (request("rbd/nowhere", "i", "s"), "namespace", "nowhere"),
        (request("rbd", "nowhere", "s"), "image", "nowhere"),
    ],
    ids=["scope", "pool", "namespace", "image"],
)
def test_what_is_missing_is_told_apart(
    client: Client, server: Server, body: dict[str, str], kind: str, name: str
) -> None:
    outcome = client(server, body)
    assert_error(outcome, body, "not_found", f"{kind.upper()}_NOT_FOUND")
    resource = outcome.details["ResourceInfo"]
    assert (resource["resourceType"], resource["resourceName"]) == (kind, name)


@every_client
@pytest.mark.parametrize(
    ("field", "proto_field", "name", "reason"),
    [
        ("scope", "scope", "", "EMPTY"),
        ("poolName", "pool_name", "", "EMPTY"),
        ("poolName", "pool_name", "rbd/", "EMPTY"),
        ("poolName", "pool_name", "a/b/c", "FORBIDDEN_CHARACTER"),
        ("imageName", "image_name", "a\0b", "CONTROL_CHARACTER"),
        ("snapshotName", "snapshot_name", "", "EMPTY"),
        ("snapshotName", "snapshot_name", "a@b", "FORBIDDEN_CHARACTER"),
        ("snapshotName", "snapshot_name", "a/b", "FORBIDDEN_CHARACTER"),
        ("snapshotName", "snapshot_name", "a\nb", "CONTROL_CHARACTER"),
        ("snapshotName", "snapshot_name", ".mirror.x", "RESERVED"),
        ("snapshotName", "snapshot_name", "s" * 256, "TOO_LONG"),
    ],
)
def test_a_name_that_is_not_valid_names_its_field(
    client: Client, server: Server, field: str, proto_field: str, name: str, reason: str
) -> None:
    outcome = client(server, request("rbd", "image", "snapshot") | {field: name})
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_NAME")
    (violation,) = outcome.details["BadRequest"]["fieldViolations"]
    assert (violation["field"], violation["reason"]) == (proto_field, reason)


def test_every_field_that_is_not_valid_is_named(server: Server) -> None:
    outcome = create(server, {})
    fields = [violation["field"] for violation in outcome.details["BadRequest"]["fieldViolations"]]
    assert fields == ["scope", "pool_name", "image_name", "snapshot_name"]


@pytest.fixture(scope="module")
def other_users(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a scope for each way in which a Ceph user may be of no use."""
    cluster.create_user("client.reader", mon="profile rbd", osd="profile rbd-read-only")
    cluster.create_user("client.no-osds", mon="profile rbd")
    cluster.create_user("client.elsewhere", mon="profile rbd", osd="profile rbd pool=elsewhere")
    wrong = cluster.folder / "wrong.keyring"
    wrong.touch(0o600)
    wrong.write_text("[client.rbd-connect]\n\tkey = AQBSdFhnAAAAABAAuQRDmmMfqBmqBnp0dRAfmQ==\n", encoding="utf-8")
    exposed = cluster.create_user("client.exposed", mon="profile rbd", osd="profile rbd")
    settings = [
        write_scope("exposed", cluster, ['client = "client.exposed"']),
        write_scope("reader", cluster, ['client = "client.reader"']),
        write_scope("no-osds", cluster, ['client = "client.no-osds"']),
        write_scope("elsewhere", cluster, ['client = "client.elsewhere"']),
        write_scope("stranger", cluster, ['client = "client.stranger"']),
        write_scope("wrong", cluster, [f'keyring = "{wrong}"']),
    ]
    with run_server(tmp_path_factory.mktemp("users"), "\n".join(settings)) as server:
        exposed.chmod(0o644)  # sooner, the server would not start
        yield server


@pytest.mark.parametrize(
    ("scope", "reason", "errno"),
    [
        ("reader", "CEPH_CAPS_MISSING", "EPERM"),
        ("elsewhere", "CEPH_CAPS_MISSING", "EPERM"),
        ("no-osds", "CEPH_CAPS_MISSING", "EPERM"),
        ("wrong", "CEPH_AUTH_REJECTED", "EACCES"),
        ("stranger", "CEPH_KEYRING_MISSING", "ENOENT"),
        ("exposed", "CEPH_KEYRING_EXPOSED", None),
    ],
)
def test_a_ceph_user_of_no_use_is_permission_denied(
    other_users: Server, tools: Tools, new_image: NewImage, scope: str, reason: str, errno: str | None
) -> None:
    image = new_image()
    body = request("rbd", image, "first", scope=scope)
    assert_error(create(other_users, body), body, "permission_denied", reason, errno)
    assert tools.snapshots(f"rbd/{image}") == []


def test_the_snapshot_limit_is_resource_exhausted(server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    tools.rbd("snap", "limit", "set", "--limit", "1", f"rbd/{image}")
    assert create(server, request("rbd", image, "first")).reply
    body = request("rbd", image, "second")
    assert_error(create(server, body), body, "resource_exhausted", "QUOTA_EXCEEDED", "EDQUOT")
    assert [snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")] == ["first"]


def test_a_pool_at_its_quota_is_resource_exhausted(
    server: Server, tools: Tools, cluster: DevCluster, new_image: NewImage
) -> None:
    cluster.create_pool("small")
    image = new_image(pool="small", written=1)
    tools.ceph("osd", "pool", "set-quota", "small", "max_objects", "1")
    wait_for_pool_flag(tools, "small", "full_quota", present=True)
    body = request("small", image, "first")
    assert_error(create(server, body), body, "resource_exhausted", "POOL_QUOTA_REACHED", "EDQUOT")
    tools.ceph("osd", "pool", "set-quota", "small", "max_objects", "0")
    wait_for_pool_flag(tools, "small", "full_quota", present=False)
    assert create(server, body).reply


def test_a_full_cluster_is_resource_exhausted(server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=1)
    with full_cluster(tools):
        body = request("rbd", image, "first")
        assert_error(create(server, body), body, "resource_exhausted", "POOL_FULL", "ENOSPC")
    assert create(server, body).reply


@contextlib.contextmanager
def full_cluster(tools: Tools) -> Iterator[None]:
    ratios = {"nearfull": (0.85, 0.0001), "backfillfull": (0.9, 0.0002), "full": (0.95, 0.0003)}
    for name, (_, full) in ratios.items():
        tools.ceph("osd", f"set-{name}-ratio", str(full))
    wait_for_pool_flag(tools, "rbd", "full", present=True)
    try:
        yield
    finally:
        for name, (usual, _) in reversed(ratios.items()):
            tools.ceph("osd", f"set-{name}-ratio", str(usual))
        wait_for_pool_flag(tools, "rbd", "full", present=False)


def wait_for_pool_flag(tools: Tools, pool: str, flag: str, *, present: bool) -> None:
    def flags() -> list[str]:
        pools = json.loads(tools.ceph("osd", "pool", "ls", "detail", "--format", "json"))
        (names,) = [found["flags_names"] for found in pools if found["pool_name"] == pool]
        return str(names).split(",")

    wait_until(lambda: (flag in flags()) is present)


@pytest.mark.parametrize(("mode", "features"), [("snapshot", "layering"), ("journal", "exclusive-lock,journaling")])
def test_a_mirrors_replica_is_failed_precondition(server: Server, tools: Tools, mode: str, features: str) -> None:
    image = f"rbd/replica-{mode}"
    tools.rbd("mirror", "pool", "enable", "rbd", "image")
    tools.rbd("create", "--size", "4M", "--image-feature", features, image)
    tools.rbd("mirror", "image", "enable", image, mode)
    tools.rbd("mirror", "image", "demote", image)
    body = request("rbd", f"replica-{mode}", "first")
    assert_error(create(server, body), body, "failed_precondition", "IMAGE_NON_PRIMARY")


def test_an_image_that_only_a_newer_ceph_understands_is_failed_precondition(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    with tools.ioctx() as ioctx:
        with rbd.Image(ioctx, image, read_only=True) as opened:
            header = f"rbd_header.{opened.id()}"
            features = opened.features() | rbd.RBD_FEATURE_OPERATIONS
        values = (struct.pack("<Q", features), struct.pack("<Q", 1 << 40))
        with rados.WriteOpCtx() as operation:
            ioctx.set_omap(operation, ("features", "op_features"), values)
            ioctx.operate_write_op(operation, header)
    body = request("rbd", image, "first")
    assert_error(create(server, body), body, "failed_precondition", "IMAGE_READ_ONLY")


def test_what_ceph_refuses_is_invalid_argument(server: Server, tools: Tools) -> None:
    """A pool that has snapshots of its own takes none of images."""
    tools.ceph("osd", "pool", "create", "own-snapshots")
    tools.rbd("create", "--rbd-validate-pool=false", "--size", "4M", "own-snapshots/image")
    tools.ceph("osd", "pool", "mksnap", "own-snapshots", "its-own")
    body = request("own-snapshots", "image", "first")
    assert_error(create(server, body), body, "invalid_argument", "REFUSED_BY_CEPH", "EINVAL")


class TestOutages:
    """A cluster that does not answer, with timeouts so short that one need not wait for them."""

    @pytest.fixture
    def impatient(self, cluster: DevCluster, tmp_path: Path) -> Iterator[Server]:
        cluster.create_user("client.impatient", mon="profile rbd", osd="profile rbd")
        timeouts = "[ceph]\nosd_timeout = 2\nmon_timeout = 2\nconnect_timeout = 2\n"
        settings = timeouts + write_scope("test", cluster, ['client = "client.impatient"'])
        with run_server(tmp_path, settings) as server:
            yield server

    @pytest.mark.parametrize("daemon", ["osd", "mon"])
    def test_a_frozen_daemon_is_unavailable_and_a_retry_is_safe(
        self, impatient: Server, cluster: DevCluster, tools: Tools, new_image: NewImage, daemon: str
    ) -> None:
        """Nothing is begun: the monitor is asked for the pool first, and the OSD for the image."""
        image = new_image(written=1)
        assert create(impatient, request("rbd", image, "before")).reply
        body = request("rbd", image, "during")
        with frozen(getattr(cluster, daemon)):
            assert_error(create(impatient, body), body, "unavailable", "CEPH_TIMED_OUT", "ETIMEDOUT")
        retried = create(impatient, body)
        assert retried.reply or retried.code == "already_exists"
        assert [snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")] == ["before", "during"]

    @pytest.mark.usefixtures("short_watches")
    def test_an_exclusive_lock_that_cannot_be_had_is_unavailable(
        self, cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
    ) -> None:
        """Its owner was killed, and the Ceph user may not blocklist that client."""
        cluster.create_user("client.no-blocklist", mon="allow r", osd="profile rbd")
        image = new_image()
        with run_server(tmp_path, write_scope("test", cluster, ['client = "client.no-blocklist"'])) as server:
            kill_lock_owner(tools, image)
            body = request("rbd", image, "first")
            assert_error(create(server, body), body, "unavailable", "LOCK_UNAVAILABLE", "EROFS")
            # Another client gets the lock, and leaves it.
            tools.rbd("snap", "create", "--no-progress", f"rbd/{image}@other")
            assert create(server, body).reply

    def test_a_monitor_that_does_not_answer_at_first_is_unavailable(
        self, impatient: Server, cluster: DevCluster, new_image: NewImage
    ) -> None:
        body = request("rbd", new_image(), "first")
        with frozen(cluster.mon):
            assert_error(create(impatient, body), body, "unavailable", "CONNECT_FAILED", "ETIMEDOUT")
        wait_until(lambda: create(impatient, body).reply)

    def test_a_conf_that_has_gone_is_unavailable(self, cluster: DevCluster, tmp_path: Path) -> None:
        conf = tmp_path / "gone.conf"
        conf.write_bytes(cluster.conf.read_bytes())
        settings = f'[scopes.test]\nconf = "{conf}"\nkeyring = "{cluster.folder}/client.rbd-connect.keyring"\n'
        with run_server(tmp_path, settings) as server:
            conf.unlink()
            body = request("rbd", "image", "first")
            assert_error(create(server, body), body, "unavailable", "CEPH_CONF_UNREADABLE", "ENOENT")
