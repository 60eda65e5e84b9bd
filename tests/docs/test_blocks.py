"""Every command and code block of README.md and docs/ is composed and checked, or marked why not."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Callable
from glob import glob
from pathlib import Path

import pytest
import yaml

from doc_blocks import (
    LANGUAGES,
    REPOSITORY,
    Block,
    Command,
    all_commands,
    blocks,
    commands,
    pages,
    read_page,
    write_files_of_pages,
)
from patchlight.cli.command import DATA, CommandConfig, typed
from patchlight.cli.download import _parser, find_set
from patchlight.config.command_line import FREE_MAPPINGS, check_command_line, read_command_line, with_free_keys
from patchlight.config.compose import register_resolvers
from patchlight.config.validation import validate
from patchlight.errors import ConfigError
from patchlight.sweeps.search import check_search
from patchlight.system.job_record import VARIABLE, search_folders
from site_reference import COMMANDS

SHELL = [block for block in blocks() if block.language == "bash"]
OTHERS = ("aws", "ssh", "wandb", "hf", "tensorboard", ".", "git", "cd")
"""Programs of others that are not started; a block of them alone is marked."""

pytestmark = pytest.mark.untraced


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which commands are checked: a checkout, with the files that pages tell the reader to write."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("examples", "scripts", "configs", "tests", "docs", "benchmarks"):
        (folder / name).symlink_to(REPOSITORY / name)
    write_files_of_pages(folder)
    return folder


def test_blocks_are_of_known_languages_and_commands_are_in_blocks_of_the_shell() -> None:
    assert [block.place for block in blocks() if block.language not in LANGUAGES] == []
    plain = [block for block in blocks() if block.language in ("text", "")]
    assert [block.place for block in plain if re.search(r"^(patchlight-|pip |make )", block.text, re.MULTILINE)] == []
    assert {block.page for block in blocks()} >= {"README.md", "docs/start.md", "docs/extend.md"}
    assert len(SHELL) > 50


def takes_long(block: Block) -> bool:
    """Whether a block has a sweep, each value of which is composed, or is on a page of details, which few change."""
    words = [word for command in commands(block) for word in command.words]
    swept = any(word == "-m" or re.match(r"sweep=|[\w./]+=[^\[{]*,", word) for word in words)
    return swept or not block.page.startswith(("README.md", "docs/start.md", "docs/howto/"))


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.place, marks=pytest.mark.slow if takes_long(b) else ()) for b in SHELL]
)
def test_every_command_is_one_that_there_is(block: Block, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reader)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    found = list(commands(block))
    assert found
    for command in found:
        check(command)


def check(command: Command) -> None:
    """Compose a command of Patchlight and check its keys; of another program look whether it names what there is."""
    if command.patchlight is not None:
        verb, arguments = command.patchlight
        CHECKS.get(verb, check_other)(verb, arguments)
        return
    program, *arguments = command.words
    match program:
        case "make":
            makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), f"no target {arguments[0]}"
        case "pip":
            extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            for extra in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
                assert set(extra.split(",")) <= set(extras["optional-dependencies"])
        case "python":
            assert Path(arguments[0]).is_file()
        case _:
            assert program in OTHERS, f"{command.block.place}: {program} is neither checked nor in a list"
            assert command.block.reason is not None or program in (".", "cd", "git")


checked: set[tuple[str, ...]] = set()
"""Commands of training that were composed already; many stand on several pages."""


def check_train(verb: str, arguments: list[str]) -> None:
    if (verb, *arguments) in checked:
        return
    register_resolvers()
    command = read_command_line(with_free_keys(arguments, FREE_MAPPINGS), "train")
    assert command is not None
    search_folders()
    for cfg in command.configs:
        validate(cfg)
    if command.plan is not None:
        check_search(command)
    checked.add((verb, *arguments))


def check_download(verb: str, arguments: list[str]) -> None:
    given: argparse.Namespace = _parser().parse_args(arguments)
    assert given.list or find_set(given.name, given.family).name == given.name


def check_other(verb: str, arguments: list[str]) -> None:
    module = importlib.import_module(f"patchlight.cli.{COMMANDS[verb]}")
    own = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, CommandConfig))
    model = next(value for value in own if value is not CommandConfig)
    if model.takes_data:
        arguments = [f"root={a.removeprefix(DATA)}" if a.startswith(DATA) else a for a in arguments]
    (cfg,) = check_command_line(with_free_keys(arguments, model.open_groups), verb)
    typed(cfg, model).check()


CHECKS: dict[str, Callable[[str, list[str]], None]] = {"train": check_train, "download": check_download}


def test_a_wrong_command_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above would say of a page with mistakes."""
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nmany=\"seed=0,1 model=cyclegan\"\npatchlight-train -m $many \\\n  model.lambda_b=2 # why\n```\n"
        "<!-- not run: no -->\n```bash\nssh x patchlight-demo ckpt=a port=1\n```\n"
    )  # fmt: skip
    monkeypatch.setattr("doc_blocks.REPOSITORY", tmp_path)
    one, other = read_page(page)
    assert (one.place, one.reason, other.reason) == ("page.md:1", None, "no")
    (training,), (demo,) = commands(one), commands(other)
    assert training.patchlight == ("train", ["-m", "seed=0,1", "model=cyclegan", "model.lambda_b=2"])
    assert demo.patchlight == ("demo", ["ckpt=a", "port=1"])
    check(training)
    check(demo)
    for words, message in {
        "patchlight-train model.lambda_c=2": "model.lambda_c is no key",
        "python -m patchlight train model=cyclegun": "no choice",
        "patchlight-translate ckpt=a input=b output=c tile=0": "tile=0 should be",
        "sbatch scripts/train.sbatch trainer.devices=none": "trainer.devices=none",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(message)):
            check(Command(one, tuple(words.split())))
    for words in ("make nothing", "pip install patchlight[nothing]", "python nothing.py", "wandb login", "curl x"):
        with pytest.raises(AssertionError):
            check(Command(one, tuple(words.split())))


def test_yaml_blocks_are_files_that_compose(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of `examples/` are trained by tests/examples; another is a file that a command of its page chooses."""
    monkeypatch.chdir(reader)
    for block in blocks():
        if block.language != "yaml" or block.reason:
            continue
        assert yaml.safe_load(block.text)
        if block.file:
            assert (REPOSITORY / block.file).read_text(encoding="utf-8") == block.text
            continue
        named = re.search(r"^# (\S+?)/(\S+)/(\w+)\.yaml$", block.text, re.MULTILINE)
        assert named, f"{block.place} does not say which file it is, as `# FOLDER/GROUP/NAME.yaml`"
        chosen = {word for command in all_commands() for word in command.words}
        assert f"{named[2]}={named[3]}" in chosen, f"{block.place}: no command chooses it"


def test_python_blocks_compile_and_say_where_they_run() -> None:
    for block in blocks():
        if block.language == "python":
            compile(block.text, block.place, "exec")
            if block.file:
                assert (REPOSITORY / block.file).read_text(encoding="utf-8") == block.text
            if block.test:
                assert Path(block.page).name in (REPOSITORY / block.test).read_text(encoding="utf-8")


def test_links_lead_to_files_and_headings() -> None:
    """On GitHub, where pages are read as they are; the site's own build looks at its links itself."""
    dead = []
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            file = (page.parent / path).resolve() if path else page
            if is_generated(file):
                continue
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
                dead.append(f"{page.name}: {target}")
    assert dead == []


def test_every_page_is_in_the_contents_of_the_site() -> None:
    """The build of the site refuses a page that no toctree has."""
    docs = REPOSITORY / "docs"
    listed = {str(docs / "index.md")}
    for page in docs.rglob("*.md"):
        for body in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M):
            entries = [line for line in body.splitlines() if line and not line.startswith(":")]
            listed |= {os.path.normpath(path) for entry in entries for path in glob(str(page.parent / f"{entry}.md"))}
    assert [str(page) for page in pages() if page.is_relative_to(docs) and str(page) not in listed] == []


def is_generated(file: Path) -> bool:
    """Whether the build of the site makes a file: the reference, and the copies of notebooks."""
    docs = REPOSITORY / "docs"
    return file.is_relative_to(docs / "reference") or (file.parent == docs / "tutorials" and file.suffix == ".ipynb")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
