"""Write the page of settings from their descriptions: ``python -m integration.documents.configuration_page``."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rbd_connect.cli.main import serve
from rbd_connect.config.settings import Settings, fields_of
from rbd_connect.config.types import Address

__all__ = ["EXAMPLE", "page"]

EXAMPLE = """\
[listen]
http = "127.0.0.1:8080"          # Connect and gRPC-Web
grpc = "127.0.0.1:50051"
probes = "0.0.0.0:8081"          # optional
drain_delay = 0
drain_timeout = 30

[proxies]
trusted = ["10.1.0.0/24"]
header = "x-forwarded-for"
proxy_protocol = false

[tls]
certificate = "/etc/rbd-connect/server.pem"
key = "/etc/rbd-connect/server.key"
client_ca = "/etc/rbd-connect/clients.pem"   # optional
client_ca_on = ["http", "grpc"]

[auth]
tokens = "/etc/rbd-connect/tokens"
certificate_name = "email"       # optional, needs client_ca

[issuers.sso]                    # any number of issuers
issuer = "https://sso.example.com/realms/platform"
audience = "rbd-connect"
jwks = "https://sso.example.com/realms/platform/protocol/openid-connect/certs"
jwks_ca = "/etc/rbd-connect/sso.pem"         # optional
proxy = "http://proxy.example.com:3128"      # optional
algorithms = ["RS256"]
leeway = 30
required_claims = []
subject_claim = "sub"

[[grants]]                       # any number of grants
subjects = ["backup-*"]
actions = ["list", "create"]
scopes = ["prod"]
pools = ["rbd"]
namespaces = [""]                # the default namespace
images = ["*"]

[subjects]
in_flight = 128
rate = 0

[audit]
file = "/var/log/rbd-connect/audit.log"

[cors]
origins = ["https://console.example.com"]
headers = ["X-Tenant"]

[limits]
message_bytes = 65536
header_timeout = 10
body_timeout = 30
idle_timeout = 75
connections = 2048
grpc_connections = 16384
handshakes = 512
streams = 256
watches = 256
header_lines = 128
chunks = 1024
linger_bytes = 8388608
linger_timeout = 10
connection_age = 1800

[connect]
require_protocol_version = true

[usage]
diff_budget = 4096

[calls]
at_once = 256
waiting = 1024
waiting_per_image = 256
default_timeout = 60
max_timeout = 3600

[ceph]
connect_timeout = 10
mon_timeout = 60
osd_timeout = 60

[scopes.prod]                    # or --scope prod=/etc/ceph/ceph.conf,client=client.rbd-connect
conf = "/etc/ceph/ceph.conf"
client = "client.rbd-connect"
keyring = "/etc/ceph/ceph.client.rbd-connect.keyring"  # optional
namespaces = ["rbd/team"]        # optional
"""

_HEAD = f"""# Configuration

The server reads its settings from a TOML file, from environment variables and from flags. A flag wins over a variable, and
a variable wins over the file. `rbd-connect serve --help` lists all flags.

- `--config FILE`, or the variable `RBD_CONNECT_CONFIG`, names the file.
- The setting `http` of the section `[listen]` is also the flag `--listen-http` and the variable `RBD_CONNECT_LISTEN_HTTP`.
  The tables below give both names for each setting. Issuers and grants are set in the file only.
- `--scope NAME=CONF[,client=CLIENT][,keyring=FILE][,namespaces=POOL/NAMESPACE]` sets a scope. Repeat it for several scopes.
  The variable `RBD_CONNECT_SCOPES` has the same words, with spaces between them.
- In a flag or a variable, separate the items of a list with commas.
- Without a scope in its settings, the server serves each `/etc/ceph/NAME.conf` as the scope `NAME`. It connects as
  `client.rbd-connect` if that user's keyring is beside the file, else as `client.admin`.

## Paths

A relative path in the file starts at the file's folder. A relative path in a variable or a flag starts at the working
directory. So does a relative path in settings that come through a pipe (`--config <(…)`).

The server refuses a file with secrets that every user of the machine may open: the tokens, a keyring, or the key of `[tls]`.

## Errors

An error in the settings stops the start. The server prints one line, with the line of the file:

```
Error: settings.toml, line 7: [[grants]] number 1: acitons: is no setting. Do you mean actions?
```

The log warns of a variable that begins with `RBD_CONNECT_` and is no setting. The variables that Kubernetes sets for a
service named `rbd-connect` are excepted.

## Reload

The server reads `[auth]`, `[issuers]`, `[[grants]]` and `[subjects]` again when the settings file or the tokens file changes, and
on SIGHUP. All other settings need a restart. [Access control](access-control.md#reload) has the rules. The server uses renewed
TLS files from the next handshake on; see [Deployment](deployment.md#tls).

## Example

This file sets everything once. The values are the defaults, except for names, addresses and paths.

```toml
{EXAMPLE}```

## All settings
"""

_TAIL = """
`make docs` writes this page from the descriptions of the settings (`src/rbd_connect/config/settings.py`,
`src/rbd_connect/config/access.py`).
"""

# What a section's table cannot say, and the order of the page.
_INTRODUCTIONS: Mapping[str, str] = {
    "listen": "With port 0 the system chooses a port, and the first line that the server prints names it. A socket in the "
    "file system has mode 0660.",
    "scopes": "A scope is a Ceph cluster, by the name that clients give in `scope`. `--scope` sets one as a flag.",
    "tls": "See [TLS](deployment.md#tls).",
    "proxies": "See [Proxies](deployment.md#proxies).",
    "auth": "Without `tokens`, `certificate_name` and an issuer there is no authentication, and the server listens on "
    "loopback only. See [Access control](access-control.md).",
    "issuers": "Each issuer of JWTs has a section of its own. See [Access control](access-control.md#openid-connect-and-keycloak).",
    "grants": "Nothing is granted unless a grant says so. A grant applies to a caller that matches one of its subjects, if "
    "it has any, and all of its claims. See [Access control](access-control.md#grants).",
    "subjects": "These limits hold for each subject by itself.",
    "audit": "See [Audit](access-control.md#audit).",
    "calls": "See [Limits](api.md#limits) and [Deadlines](api.md#deadlines).",
    "usage": "See [Used bytes](api.md#used-bytes).",
    "ceph": "",
    "connect": "",
    "limits": "",
    "cors": "",
    "insecure": "",
}


def page() -> str:
    """Return the page."""
    return "".join([_HEAD, *_sections(), _TAIL])


def _sections() -> Iterator[str]:
    options = {str(option.name): option for option in serve.params if isinstance(option, click.Option)}
    assert _INTRODUCTIONS.keys() == Settings.model_fields.keys()
    for section, introduction in _INTRODUCTIONS.items():
        title, fields = _section(section)
        yield f"\n### {title}\n\n"
        if introduction:
            yield f"{introduction}\n\n"
        is_flag = any(_option_name(section, key) in options for key in fields)
        yield (
            "| key | flag | environment variable | default | meaning |\n"
            if is_flag
            else "| key | default | meaning |\n"
        )
        yield "| --- | --- | --- | --- | --- |\n" if is_flag else "| --- | --- | --- |\n"
        for key, field in fields.items():
            names = _names(options[_option_name(section, key)]) if is_flag else ""
            yield f"| `{key}` |{names} {_default(field)} | {field.description} |\n"


def _section(section: str) -> tuple[str, Mapping[str, FieldInfo]]:
    """Return the heading of a section, and its settings by their keys."""
    field = Settings.model_fields[section]
    if isinstance(field.default, BaseModel):
        return f"`[{section}]`", fields_of((section,))
    if isinstance(field.default, bool):
        return "Before all sections", {section: field}
    return ("`[[grants]]`" if section == "grants" else f"`[{section}.NAME]`"), fields_of((section, "NAME"))


def _option_name(section: str, key: str) -> str:
    return section if section == key else f"{section}__{key}"


def _names(option: click.Option) -> str:
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    return f" {flags} | `{option.envvar}` |"


def _default(field: FieldInfo) -> str:
    """Return a default as it is written in the file."""
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True, validated_data={}):
        case None | () | {}:
            return "unset"
        case Address() | Path() as value:
            return f'`"{value}"`'
        case tuple() as values:
            return f"`{json.dumps(values)}`"
        case value:
            return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - what it is for
