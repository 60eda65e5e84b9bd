"""Print the changelog's section of a release: `python .github/release_notes.py v1.2.3`.

Fails where the tag is not the version of pyproject.toml, or the changelog has no section for it, or an empty one.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def release_notes(tag: str, changelog: str, version: str) -> str:
    """The text below `## VERSION` or `## VERSION - DATE`, up to the next heading of its kind."""
    if tag != f"v{version}":
        raise SystemExit(f"the tag is {tag}, but pyproject.toml has version {version}: it should be v{version}")
    heading = re.compile(rf"^## \[?{re.escape(version)}\]?(?: - \S+)?$", re.MULTILINE)
    found = heading.search(changelog)
    if found is None:
        raise SystemExit(f'CHANGELOG.md has no section "## {version}": rename "## Unreleased"')
    notes = changelog[found.end() :].partition("\n## ")[0].strip()
    if not notes:
        raise SystemExit(f'the section "## {version}" of CHANGELOG.md is empty')
    return notes


if __name__ == "__main__":
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    print(release_notes(sys.argv[1], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), declared))
