"""Links that leave docs/, which are right on GitHub: to a page that includes the file, or to the repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]*)\]\((?P<path>\.\./[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")

INCLUDED = {
    "SECURITY.md": "project/security.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
"""Pages that are copies of files of the repository's root."""

PAGES = INCLUDED | {"README.md": "index.md", "notebooks": "tutorials/index.md"}
"""Pages of the site by the files and folders of the repository that they stand for."""


def repository_url() -> str | None:
    """Where the repository's files can be seen, as GitHub's runners are told; None elsewhere."""
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{name}/blob/{os.environ.get('GITHUB_SHA', 'main')}" if server and name else None


def from_the_root(text: str, page: str) -> str:
    """A text of the repository's root with its links as they are from a page of docs/."""
    up = "../" * (page.count("/") + 1)
    return re.sub(r"\]\((?!https?://|mailto:|#)", f"]({up}", text)


def redirect_links(page: str, text: str, docs: Path, repository: str | None) -> str:
    """A page's text in which no link leaves docs/; `page` is its name, such as `methods/cut`.

    Raises:
        ExtensionError: a link leads to no file of the repository.
    """
    folder = (docs / page).parent

    def replaced(found: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / found["path"]))
        anchor = found["anchor"] or ""
        if path.is_relative_to(docs):
            return f"[{found['text']}]({os.path.relpath(path, folder)}{anchor})"
        if not path.exists():
            raise ExtensionError(f"{page}: {found.group()} leads to no file")
        name = path.relative_to(docs.parent).as_posix()
        if name in PAGES:
            return f"[{found['text']}]({os.path.relpath(docs / PAGES[name], folder)}{anchor})"
        return f"[{found['text']}]({repository}/{name}{anchor})" if repository else found["text"]

    return LINK.sub(replaced, text)


def on_source_read(app: Sphinx, page: str, content: list[str]) -> None:
    """Redirect the links of a page that is about to be parsed."""
    docs = Path(app.srcdir)
    if not page.startswith("tutorials/0"):  # notebooks are JSON
        content[0] = redirect_links(page, content[0], docs, repository_url())
