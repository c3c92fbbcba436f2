"""Credentials and grants for tests."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from rbd_connect.auth import tokens

from .secrets import SECRETS
from .server import COMMAND

__all__ = ["Tokens", "bearer", "grant", "wrong_token"]


class Tokens:
    """A file of tokens, kept with the project's own command."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tokens"

    def new(self, subject: str, *flags: str) -> str:
        """Make a token."""
        made = self._run("new", "--subject", subject, *flags).stdout.strip()
        SECRETS.add(made)
        return made

    def revoke(self, subject: str) -> None:
        """Revoke the tokens of a subject."""
        for line in self._run("list").stdout.splitlines():
            token_id, name, *_ = line.split()
            if name == subject:
                self._run("revoke", token_id)

    @property
    def setting(self) -> str:
        return f'auth = {{ tokens = "{self.path}" }}\n'

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [COMMAND, "token", *words, "--file", str(self.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True)


def wrong_token() -> str:
    """Give what could be a token, and is none."""
    made, _ = tokens.new_token("nobody", None)
    SECRETS.add(made)
    return made


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def grant(
    subjects: str,
    actions: Iterable[str],
    images: str = "*",
    *,
    pools: str = "rbd",
    namespaces: str = "",
    scopes: str = "test",
) -> str:
    """Write a grant as TOML."""
    return (
        f'\n[[grants]]\nsubjects = "{subjects}"\nactions = {[*actions]}\nscopes = "{scopes}"\npools = "{pools}"\n'
        f'namespaces = "{namespaces}"\nimages = "{images}"\n'
    )
