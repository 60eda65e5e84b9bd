"""Writes the files of `examples/` into docs/extend.md, as the code block after each `<!-- examples/NAME/FILE -->`."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "extend.md"

LANGUAGES = {".py": "python", ".yaml": "yaml"}

MARKED = re.compile(r"<!-- (examples/\S+) -->\n(?:```.*?\n```\n)?", re.DOTALL)


def with_files(page: str) -> str:
    """The page with the files as they are."""

    def block(found: re.Match[str]) -> str:
        path = PAGE.parents[1] / found[1]
        content = path.read_text(encoding="utf-8")
        return f"<!-- {found[1]} -->\n```{LANGUAGES[path.suffix]}\n{content}```\n"

    return MARKED.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(with_files(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
