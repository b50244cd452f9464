"""How the site is made of the repository: documents outside of this folder become pages of it, and the
files that pages link to become files of it, so that every link that holds in the repository holds there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
HOME = "README.md"
PAGES = (HOME, "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md", "profiles/README.md")
FIRST_AND_LAST = {"index": -1, "peers": 1}  # among the pages of the losses
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the losses' pages under their heading."""
    found = {_title(path): path.stem for path in (ROOT / "docs" / "losses").glob("*.md")}
    titles = sorted(found, key=lambda title: (FIRST_AND_LAST.get(found[title], 0), title.lower()))
    pages = [{title: f"losses/{found[title]}.md"} for title in titles]
    config.nav = [
        entry if "Losses" not in entry else {"Losses": pages} for entry in config.nav or []
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents outside of this folder, and what is linked from any."""
    for name in PAGES:
        _add(files, config, name)
    seen: set[str] = set()
    while waiting := [file for file in files.documentation_pages() if file.src_uri not in seen]:
        for file in waiting:  # a document that is linked becomes a page, whose links count too
            seen.add(file.src_uri)
            for target in _links(Path(str(file.abs_src_path))):
                if not target.startswith("docs/"):
                    _add(files, config, target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of the repository into those of the site."""
    here = Path(str(page.file.abs_src_path)).parent
    start = posixpath.dirname(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        target = _in_repository(here, found[2])
        if target is None:
            return found[0]
        return f"{found[1]}{posixpath.relpath(_uri(target), start or '.')}{found[3]}"

    return LINK.sub(moved, markdown)


def _add(files: Files, config: MkDocsConfig, name: str) -> None:
    if files.get_file_from_path(_uri(name)) is None:
        files.append(File.generated(config, _uri(name), abs_src_path=str(ROOT / name)))


def _title(document: Path) -> str:
    """The heading of a loss's page, without its name in study files."""
    found = re.search(r"^# ([^:\n]+)", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return document.stem if found is None else found[1]


def _uri(name: str) -> str:
    """Where a file of the repository stands in the site."""
    return "index.md" if name == HOME else name.removeprefix("docs/")


def _links(document: Path) -> Iterator[str]:
    """The files of the repository that a document links to, as paths from its root."""
    for found in LINK.finditer(document.read_text(encoding="utf-8")):
        target = _in_repository(document.parent, found[2])
        if target is not None and (ROOT / target).is_file():
            yield target


def _in_repository(here: Path, link: str) -> str | None:
    """A link as a path from the root of the repository; None for one that leaves it."""
    path = (here / link).resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else None
