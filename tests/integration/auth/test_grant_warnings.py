"""What means nothing in the settings is warned of: in the log at the start and at a reload, and by `access explain`."""

import shutil
import signal
import subprocess
from pathlib import Path

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.clients import CALLS, request
from support.server import COMMAND, Server, run_server
from support.tools import frozen, write_scope
from support.waiting import wait_until


def warnings(server: Server) -> list[str]:
    lines = server.log.read_text().splitlines()
    found = [line.partition(" WARNING ")[2].partition(": ")[2] for line in lines if " WARNING " in line]
    return [text.replace(f"{server.config}, ", "") for text in found]


def test_at_the_start_and_at_a_reload(cluster: DevCluster, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.new("alice")
    scope = write_scope("test", cluster)
    settings = tokens.setting + scope + grant("alice", ["*"], scopes="tset") + grant("alice", ["*"], pools="rdb")
    environment = {"RBD_CONNECT_LISTN_HTTP": "127.0.0.1:0"}
    scopes = "[[grants]] number 1: scopes: 'tset' is no scope, so it grants nothing. Do you mean test?"
    pools = "[[grants]] number 2: pools: 'rdb' is no pool in scope 'test', so it grants nothing yet. Do you mean rbd?"
    variable = "variable RBD_CONNECT_LISTN_HTTP: is no setting. Do you mean RBD_CONNECT_LISTEN_HTTP?"
    with run_server(tmp_path, settings, environment=environment) as server:
        wait_until(lambda: f"line 17: {pools}" in warnings(server))
        assert sorted(warnings(server)) == sorted([variable, f"line 8: {scopes}", f"line 17: {pools}"])
        server.config.write_text("\n" + settings)
        wait_until(lambda: f"line 18: {pools}" in warnings(server))
        assert {f"line 9: {scopes}", f"line 18: {pools}"} <= set(warnings(server))
        assert warnings(server).count(variable) == 2
        told = len(warnings(server))
        server.config.write_text(tokens.setting + scope + grant("alice", ["*"], scopes="*", pools="*"))
        wait_until(lambda: server.log.read_text().count("were read anew") == 2)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.log.read_text().count("were read anew") == 3)
        assert warnings(server)[told:] == [variable, variable]


def test_a_cluster_that_does_not_answer_holds_up_nothing(cluster: DevCluster, tmp_path: Path) -> None:
    """Neither the start nor the end; its pools are looked at once it answers."""
    tokens = Tokens(tmp_path)
    tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"], pools="rdb")
    with frozen(cluster.mon):
        with run_server(tmp_path, settings):
            pass
        with run_server(tmp_path, settings) as server:
            wait_until(lambda: "cannot connect to Ceph as" in server.log.read_text())
            cluster.mon.send_signal(signal.SIGCONT)
            wait_until(lambda: any("'rdb' is no pool" in text for text in warnings(server)))


def test_a_server_without_doubts_asks_no_cluster(cluster: DevCluster, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    conf = tmp_path / "ceph.conf"
    shutil.copy(cluster.conf, conf)
    settings = tokens.setting + f'[scopes.test]\nconf = "{conf}"\n' + grant("alice", ["*"], pools="*")
    with run_server(tmp_path, settings) as server:
        conf.write_text("[global\n")  # read when it connects
        header = [("authorization", f"Bearer {token}")]
        outcome = CALLS["connect"](server, request("rbd", "image", "s"), "CreateImageSnapshot", header)
        assert outcome.reason == "CEPH_CONF_UNREADABLE"


def test_access_explain(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.new("alice")
    (tmp_path / "ceph.conf").touch()
    config = tmp_path / "settings.toml"
    config.write_text(
        tokens.setting + '[scopes.prod]\nconf = "ceph.conf"\n' + grant("alice", ["list"], scopes="*")
        + grant("alice", ["list"], scopes="prdo")
    )  # fmt: skip
    command = [COMMAND, "access", "explain", "alice", "list", "pord/rbd/image", "--config", str(config)]
    done = subprocess.run(
        command, env={"RBD_CONNECT_LISTN_HTTP": "x"}, capture_output=True, text=True, cwd="/", check=True
    )
    assert done.stdout == f"granted by {config}, line 5: [[grants]] number 1\n"
    assert done.stderr == (
        "warning: variable RBD_CONNECT_LISTN_HTTP: is no setting. Do you mean RBD_CONNECT_LISTEN_HTTP?\n"
        f"warning: {config}, line 16: [[grants]] number 2: scopes: 'prdo' is no scope, so it grants nothing. "
        "Do you mean prod?\n"
        "warning: 'pord' is no scope. Do you mean prod?\n"
        "No cluster was asked: the log of the server warns of pools that there are not.\n"
    )
