"""The commands and code blocks of README.md and docs/, as a reader finds them.

A comment right before a block says why the tests of `tests/docs` do not run it: `<!-- not run: WHY -->`,
`<!-- run by tests/FILE -->`, or `<!-- examples/FILE -->` for a copy of a file that `tests/examples` trains.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).resolve().parents[2]

GENERATED = ("docs/reference/", "docs/project/security.md", "docs/project/contributing.md", "docs/project/changelog.md")
"""Pages that the build of the site writes, which are no sources."""

NOTE = re.compile(r"<!-- (?:not run: (?P<reason>.+?)|run by (?P<test>\S+)|(?P<file>examples/\S+)) -->")
LANGUAGES = ("bash", "python", "yaml", "text", "")
TYPED = re.compile(r"(?:patchlight-|pip |make |python |torchrun |sbatch )")
"""How an indented block begins that holds commands."""

ASSIGNMENT = re.compile(r"(\w+)=(?:\"([^\"]*)\"|(\S+))")
COMMAND = re.compile(r"(?:^|/)patchlight-(\w+)$")


@dataclass(frozen=True)
class Block:
    """A code block with its place and the comment before it."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None = None
    test: str | None = None
    file: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block, in words, as the shell would give them to the program."""

    block: Block
    words: tuple[str, ...]

    @property
    def patchlight(self) -> tuple[str, list[str]] | None:
        """The verb and the arguments of the Patchlight command that is, or is started by, this one."""
        for i, word in enumerate(self.words):
            if found := COMMAND.search(word):
                return found.group(1), list(self.words[i + 1 :])
            if word == "-m" and self.words[i + 1] == "patchlight":
                return self.words[i + 2], list(self.words[i + 3 :])
            if word in ("scripts/train.sbatch", "scripts/train_torchrun.sbatch"):
                return "train", list(self.words[i + 1 :])
        return None


def pages() -> list[Path]:
    """README.md and the pages of docs/ that are written by hand."""
    found = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [path for path in found if not path.relative_to(REPOSITORY).as_posix().startswith(GENERATED)]


@cache
def blocks() -> tuple[Block, ...]:
    """All code blocks, without the directives of the site's generator."""
    return tuple(block for page in pages() for block in read_page(page))


def read_page(path: Path) -> Iterator[Block]:
    """The code blocks of a page."""
    page, note = path.relative_to(REPOSITORY).as_posix(), ""
    for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            typed = token.type == "code_block" and TYPED.match(token.content)
            language = "bash" if typed else token.info.strip()
            if not language.startswith(("{", ":")):
                found = NOTE.search(note)
                assert token.map is not None
                yield Block(page, token.map[0] + 1, language, token.content, **(found.groupdict() if found else {}))
        note = token.content if token.type == "html_block" else ""


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block of the shell, its variables filled in."""
    variables: dict[str, str] = {}
    for line in block.text.replace("\\\n", " ").splitlines():
        if assigned := ASSIGNMENT.fullmatch(line.strip()):
            variables[assigned[1]] = assigned[2] or assigned[3]
            continue
        for name, value in variables.items():
            line = re.sub(rf"\${name}\b", lambda found, value=value: value, line)
        if words := shlex.split(line, comments=True):
            yield Command(block, tuple(words))


def all_commands() -> list[Command]:
    """The commands of all blocks of the shell."""
    return [command for block in blocks() if block.language == "bash" for command in commands(block)]


def write_files_of_pages(folder: Path) -> None:
    """Write the YAML blocks whose comment names a file: `# mine/experiment/shoes.yaml`."""
    for block in blocks():
        named = re.search(r"^# (\S+/\S+\.yaml)$", block.text, re.MULTILINE)
        if block.language == "yaml" and named and not block.file:
            (folder / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / named[1]).write_text(block.text, encoding="utf-8")
