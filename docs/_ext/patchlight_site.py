"""The Sphinx extension of this site: pages that are made of the code, and the texts that it shares with GitHub."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

from site_docstrings import on_docstring
from site_links import INCLUDED, from_the_root, on_source_read
from site_reference import command_helps, reference_pages, write_pages, write_text

ANCHOR = re.compile(r"\]\(#([^)]+)\)")


def write_generated(app: Sphinx) -> None:
    """Write the reference, and copy notebooks and pages of the repository's root, all of which git ignores."""
    docs = Path(app.srcdir)
    repository = docs.parent
    write_pages(docs / "reference", reference_pages(repository / "configs", command_helps()))
    for notebook in sorted((repository / "notebooks").glob("*.ipynb")):
        text = notebook.read_text(encoding="utf-8")
        write_text(docs / "tutorials" / notebook.name, ANCHOR.sub(lambda found: f"](#{slug(found[1])})", text))
    for file, page in INCLUDED.items():
        write_text(docs / page, from_the_root((repository / file).read_text(encoding="utf-8"), page))


def slug(anchor: str) -> str:
    """An anchor of Jupyter, `L1-against-L1-+-GAN`, as GitHub and MyST write it."""
    return re.sub(r"[^\w-]", "", anchor.lower())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is above to the steps of a build."""
    app.connect("builder-inited", write_generated)
    app.connect("source-read", on_source_read)
    app.connect("autodoc-process-docstring", on_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
