"""Who calls: what stands in the header Authorization (RFC 6750), to an identity."""

import logging
import re
import traceback
from collections.abc import Collection, Sequence

from rbd_connect.config.settings import Settings
from rbd_connect.config.types import is_exposed, is_loopback
from rbd_connect.model.errors import StartError

from . import tokens
from .certificate_names import certificate_identity
from .identity import ANYBODY, Identity, NotVerifiedError, UnauthenticatedError
from .issuers import Issuers
from .tokens import Entry, Tokens

__all__ = ["Authentication", "PeerConnection"]

_log = logging.getLogger(__name__)

_FORM = re.compile(r"(?i:bearer) +(?P<token>[A-Za-z0-9._~+/-]+=*) *")
_MOST_CHARACTERS = 16 * 1024


def _unforeseen(error: Exception) -> str:
    """Say where an error nobody foresaw was raised. Its text may have the credential in it."""
    *_, place = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {place.name}, {place.filename}, line {place.lineno}"


class PeerConnection:
    """By which a call came: from which host, and whether nobody between could read it.

    ``certificate`` is the client's, DER, where it had to show one.
    """

    __slots__ = ("certificate", "host", "is_private")

    def __init__(self, host: str, *, with_tls: bool, certificate: bytes | None = None) -> None:
        self.host = host
        self.certificate = certificate
        self.is_private = with_tls or is_loopback(host)


class Authentication:
    """The credentials that are valid at the moment."""

    def __init__(self, settings: Settings, before: "Authentication | None" = None) -> None:
        """Raises StartError for a file of tokens or of keys that cannot be read."""
        self._is_required = settings.with_authentication
        self._anywhere = settings.insecure
        self._certificate_name = settings.auth.certificate_name
        self._tokens_file = settings.auth.tokens
        self._tokens = Tokens([] if self._tokens_file is None else tokens.read(self._tokens_file))
        self._issuers: Issuers = Issuers(settings.issuers, None if before is None else before._issuers)  # noqa: SLF001 - the same

    def renew_tokens(self) -> None:
        """Read the tokens anew. Those that every user may open can be revoked, and not made: see ``SecretFile``.

        Raises StartError; then those before stay valid, but for those that were revoked in such a file.
        """
        if self._tokens_file is None:
            return
        if not self._tokens_file.is_file():  # else a pipe would hold everybody up
            raise StartError(f"{self._tokens_file}: there is no file; what was read of it stays valid.")
        try:
            is_shown_to_all = is_exposed(self._tokens_file)
        except OSError as error:
            raise StartError(f"{self._tokens_file}: cannot be read: {error.strerror}.") from error
        entries = tokens.read(self._tokens_file)
        if is_shown_to_all:
            self._tokens = self._tokens.still_in(entries)
            raise StartError(
                f"{self._tokens_file} holds secrets, and every user may open it, so that no new token in it is valid; "
                f"say: chmod o= {self._tokens_file}."
            )
        self._tokens = Tokens(entries)

    @property
    def tokens(self) -> Collection[Entry]:
        """What is kept of the tokens that are valid, or were."""
        return self._tokens.entries

    async def identity(self, authorizations: Sequence[str], connection: PeerConnection) -> Identity:
        """Say who calls, by all of the headers Authorization that came.

        Raises UnauthenticatedError, with why it was rejected as its cause.
        """
        if not self._is_required:
            return ANYBODY
        try:
            return await self._verified(authorizations, connection)
        except NotVerifiedError as reason:
            cause = str(reason)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a credential, it proves nothing
            cause = _unforeseen(error)
            _log.error("a credential from %s is rejected: %s", connection.host, cause)
        raise UnauthenticatedError(f"a credential from {connection.host} is rejected: {cause}")

    async def _verified(self, authorizations: Sequence[str], connection: PeerConnection) -> Identity:
        if not authorizations and self._certificate_name is not None and connection.certificate is not None:
            return certificate_identity(connection.certificate, self._certificate_name)
        if not (connection.is_private or self._anywhere):
            raise NotVerifiedError("a credential that came over the network without TLS is not taken")
        if not authorizations:
            raise NotVerifiedError("there is none")
        if len(authorizations) != 1:
            raise NotVerifiedError(f"there are {len(authorizations)} headers Authorization")
        (authorization,) = authorizations
        form = _FORM.fullmatch(authorization) if len(authorization) <= _MOST_CHARACTERS else None
        if form is None:
            raise NotVerifiedError("the header Authorization is not: Bearer TOKEN")
        token = form["token"]
        if token.startswith(tokens.PREFIX):
            return self._tokens.identity(token)
        return await self._issuers.identity(token)
