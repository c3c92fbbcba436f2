"""Who may do what at the moment: credentials, grants and limits, which are replaced all together or not at all."""

import logging
from collections.abc import Sequence
from contextlib import suppress

from rbd_connect.config.settings import Settings

from .authentication import Authentication, PeerConnection
from .expiry import authorities_that_expire, tokens_that_expire
from .grant_warnings import grant_doubts
from .grants import EVERYTHING, Granted, Grants
from .identity import ANYBODY, Identity
from .subject_limits import Admission, SubjectLimits

__all__ = ["Policy"]

_log = logging.getLogger(__name__)


class Policy:
    """What the settings say of access."""

    def __init__(self, settings: Settings) -> None:
        """Raises StartError."""
        self._settings = settings
        self._in_force = (Authentication(settings), Grants(settings.grants))
        self._subject_limits = SubjectLimits(settings.subjects)
        self._warn()

    def replace(self, settings: Settings) -> None:
        """Put other settings in force. Raises StartError; then those before stay so."""
        authentication, _ = self._in_force
        self._in_force = (Authentication(settings, authentication), Grants(settings.grants))
        self._subject_limits.change(settings.subjects)
        self._settings = settings
        self._warn()

    def renew_tokens(self) -> None:
        """Read the tokens' file anew, and nothing else. Raises StartError; then those before stay in force."""
        authentication, _ = self._in_force
        authentication.renew_tokens()
        self._warn_of_tokens()

    async def identity(self, authorizations: Sequence[str], connection: PeerConnection) -> Identity:
        """Say who calls; see ``Authentication.identity``. Raises UnauthenticatedError."""
        authentication, _ = self._in_force
        return await authentication.identity(authorizations, connection)

    def granted(self, identity: Identity) -> Granted:
        """Say what is granted to a caller."""
        _, grants = self._in_force
        return EVERYTHING if identity is ANYBODY else grants.of(identity)

    def acquire(self, identity: Identity) -> Admission:
        """Count a call. Raises RetryableError where the caller has too many."""
        return Admission() if identity is ANYBODY else self._subject_limits.acquire(identity.subject)

    def _warn(self) -> None:
        """Say in the log what is granted to nobody, or nowhere, and may be meant for somebody; and what ends soon."""
        for doubt in grant_doubts(self._settings, self._settings.scopes):
            _log.warning("%s", doubt)
        with suppress(OSError):
            for problem in authorities_that_expire(self._settings):
                _log.warning("%s", problem)
        self._warn_of_tokens()

    def _warn_of_tokens(self) -> None:
        authentication, _ = self._in_force
        for problem in tokens_that_expire(self._settings, authentication.tokens):
            _log.warning("%s", problem)
