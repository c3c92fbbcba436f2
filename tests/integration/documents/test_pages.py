"""The pages that are written from tables say what the tables say, and links lead somewhere."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from rbd_connect.config.settings import Settings, fields_of
from rbd_connect.model.reasons import REASONS

from . import configuration_page, errors_page

ROOT = Path(__file__).parents[3]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s#]*)(?:#([^)\s]+))?\)")


def test_the_page_of_errors_has_the_table_of_reasons() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == errors_page.page(), "run `make docs`"


def test_the_page_of_settings_has_their_descriptions() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert text == configuration_page.page(), "run `make docs`"


def test_the_example_of_settings_has_every_setting() -> None:
    example = tomllib.loads(configuration_page.EXAMPLE)
    assert example.keys() == Settings.model_fields.keys() - {"insecure"}
    for section, table in example.items():
        keys, named = fields_of((section, "NAME")), table
        if section in {"issuers", "scopes"}:
            (named,) = table.values()
        elif section == "grants":
            (named,) = table
        assert named.keys() == keys.keys() - {"issuer" if section == "grants" else "", "claims"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_reasons_that_documents_name_exist(document: Path) -> None:
    """A reason is in code type, in capitals; so are some variables and kinds of details, which have no underscore."""
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)`", document.read_text(encoding="utf-8")))
    assert {name for name in named - OTHERS if not name.startswith("RBD_CONNECT_")} <= REASONS.keys()


# Kinds of details, words of Linux, and a variable of curl's.
OTHERS = {"GROUP_SNAPSHOT", "MIRROR_SNAPSHOT", "TRASH_SNAPSHOT", "PR_SET_DUMPABLE", "RLIMIT_CORE", "CURL_CA_BUNDLE"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples_can_be_parsed(document: Path) -> None:
    for kind, text in re.findall(
        r"^```(toml|bash|json)\n(.*?)^```$", document.read_text("utf-8"), re.DOTALL | re.MULTILINE
    ):
        match kind:
            case "toml":
                tomllib.loads(text)
            case "json":
                json.loads(text)
            case _:
                subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target, heading in _LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = (document.parent / target) if target else document
        assert path.exists(), target
        if heading:
            assert heading in headings(path), f"{target}#{heading}"


def headings(path: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their text."""
    lines = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
