"""An OpenID Connect issuer: it signs tokens, and shows its keys, in all the ways in which that can go wrong."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from .secrets import SECRETS

__all__ = ["AUDIENCE", "ISSUER", "Issuer", "issuing"]

ISSUER = "https://sso.example.com/realms/platform"
AUDIENCE = "rbd-connect"

Answer = Callable[[BaseHTTPRequestHandler], None]


class Issuer:
    """Keys by their ids, and how they are shown at ``url``."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {}
        self.url = ""
        self.asked = 0
        self.discovery: dict[str, Any] = {}
        self.answer: Answer = self.show
        self.new_key("first")

    def new_key(self, key_id: str) -> None:
        self.keys[key_id] = rsa.generate_private_key(65537, 2048)

    def new_curve_key(self, key_id: str) -> None:
        self.keys[key_id] = ec.generate_private_key(ec.SECP256R1())

    def public_pem(self, key_id: str) -> bytes:
        return (
            self.keys[key_id]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    @property
    def key_set(self) -> dict[str, Any]:
        """Its public keys, as a JWK set."""
        found = []
        for key_id, key in self.keys.items():
            if isinstance(key, rsa.RSAPrivateKey):
                jwk, algorithm = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "RS256"
            else:
                jwk, algorithm = ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "ES256"
            found.append({**jwk, "kid": key_id, "use": "sig", "alg": algorithm})
        return {"keys": found}

    def token(self, *, key_id: str = "first", algorithm: str = "RS256", **claims: Any) -> str:  # noqa: ANN401 - JSON
        """Sign a token that is right in every way, but for the claims that are given; None leaves one out."""
        made = jwt.encode(self.claims(**claims), self.keys[key_id], algorithm, headers={"kid": key_id})
        SECRETS.add(made)
        return made

    def claims(self, **claims: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600}
        return {name: value for name, value in {**usual, **claims}.items() if value is not None}

    def show(self, request: BaseHTTPRequestHandler) -> None:
        """Answer as an issuer does: with its keys, or, where it is asked for that, with what it tells of itself."""
        content = self.discovery if request.path.endswith("/.well-known/openid-configuration") else self.key_set
        self.send(request, json.dumps(content).encode())

    @property
    def realm(self) -> str:
        """The issuer's own address, which tells where its keys are."""
        return self.url.removesuffix("/keys") + "/realms/platform"

    def discover(self, **changes: object) -> None:
        """Tell of itself, rightly but for what is given."""
        self.discovery = {"issuer": self.realm, "jwks_uri": self.url, **changes}

    @staticmethod
    def send(request: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def issuing(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Issuer]:
    """Serve an issuer's keys on a free port."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            issuer.answer(self)

        def log_message(self, *_arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        issuer.url = f"http{'s' if tls else ''}://{host}:{server.server_port}/keys"
        issuer.discover()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
