"""The pages of the reference, written before the site is built: configuration, commands, Python."""

from __future__ import annotations

import io
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from patchlight.cli.command import CommandConfig
from site_groups import PRESETS, Group, Row, command_rows, read_groups, top_level
from site_yaml import ConfigFile, read_config

DOCS = Path(__file__).resolve().parents[1]

Pages = dict[str, str]
"""Markdown by the name of its file."""

TOP_GROUPS = {
    "data": "Image sets: where images are, how they are paired, cropped and loaded.",
    "model": "Methods, and the networks, losses, optimizers and schedules that they are made of.",
    "trainer": "Devices, precision, and how long and how often. What takes the keys is Lightning's Trainer.",
    "callbacks": "What happens beside the step: figures, pictures, health, checkpoints.",
    "logger": "Where figures and pictures go.",
    "perf": "What makes a step faster or smaller.",
    "paths": "The folders that a run writes to.",
}
"""What the page of a top-level group says at its beginning."""

SCRIPTS = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]

COMMANDS = {
    name.removeprefix("patchlight-"): place.partition(":")[0].rpartition(".")[2] for name, place in SCRIPTS.items()
}
"""The modules of `patchlight.cli` by the commands' verbs."""

MODULES = (
    "patchlight", "patchlight.networks", "patchlight.losses", "patchlight.methods", "patchlight.methods.schedules",
    "patchlight.data", "patchlight.data.sources", "patchlight.build", "patchlight.callbacks", "patchlight.metrics",
    "patchlight.pictures", "patchlight.inference", "patchlight.interop", "patchlight.loggers", "patchlight.parallel",
    "patchlight.reporting", "patchlight.errors",
)  # fmt: skip
"""The packages whose names are for users."""


def reference_pages(configs: Path, helps: dict[str, str]) -> Pages:
    """All pages; `helps` is what each command prints for `--help`."""
    groups = read_groups(configs)
    pages = {f"configuration/{name}.md": _group_page(name, groups) for name in TOP_GROUPS}
    pages["configuration/index.md"] = _configuration_index(configs)
    pages["configuration/presets.md"] = _presets_page(configs)
    pages |= {f"commands/{verb}.md": command_page(configs, verb, helps[verb]) for verb in COMMANDS}
    pages["commands/index.md"] = _commands_index(helps)
    pages |= {f"python/{module}.md": module_page(module) for module in MODULES}
    pages["python/index.md"] = _python_index()
    return pages


def command_helps() -> dict[str, str]:
    """What each command prints for `--help`, on a terminal of 100 columns."""
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "100"
    try:
        return {verb: _help(verb) for verb in COMMANDS}
    finally:
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width


def _help(verb: str) -> str:
    """What a command prints for `--help`, called in this process, whose environment stays as it is.

    Commands leave a record in it for processes that they start, and notebooks are none of those.
    """
    arguments, environment = sys.argv, dict(os.environ)
    sys.argv = [f"patchlight-{verb}", "--help"]
    said = io.StringIO()
    try:
        with redirect_stdout(said), suppress(SystemExit):
            import_module(f"patchlight.cli.{COMMANDS[verb]}").main()
    finally:
        sys.argv = arguments
        os.environ.clear()
        os.environ.update(environment)
    return said.getvalue().strip()


def write_pages(folder: Path, pages: Pages) -> None:
    """Write what has changed, and remove what is no page any more."""
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()
    for name, text in pages.items():
        write_text(folder / name, text)


def write_text(path: Path, text: str) -> None:
    """Write a file, unless it says that already, so that Sphinx does not read it again."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _group_page(name: str, groups: Iterable[Group]) -> str:
    own = [group for group in groups if group.name == name or group.name.startswith(f"{name}/")]
    return "\n\n".join([f"# {name}", TOP_GROUPS[name], *(part for group in own for part in _group_parts(group, name))])


def _group_parts(group: Group, page: str) -> Iterator[str]:
    if group.name != page:
        yield f"## {group.name}"
    if group.name != "paths":
        choices = (f"| `{file.name}` | {text(file.description)}{_also(group, file)} |" for file in group.files)
        yield "\n".join([f"| `{group.name}=` | |", "|---|---|", *choices])
    for target, rows in group.tables.items():
        if len(group.tables) > 1 or group.name == page:
            taken_by = [file.name for file in group.files if any(key.target == target for key in file.keys.values())]
            yield _taken_by(target, taken_by if len(taken_by) < len(group.files) else [])
        yield key_table(rows.values(), all_files=len(group.files))


def _also(group: Group, file: ConfigFile) -> str:
    """The keys of other groups that a file sets, which is all that some files do."""
    keys = [key for key in group.also.get(file.name, []) if key.value != "null"]
    return " Sets " + ", ".join(f"`{key.name}: {key.value}`" for key in keys) + "." if keys else ""


def _taken_by(target: str, files: list[str]) -> str:
    of = f" of {', '.join(f'`{name}`' for name in files)}" if files else ""
    return f"Keys{of}, which `{target}` takes:" if target else f"Keys{of}:"


def key_table(rows: Iterable[Row], all_files: int = 1) -> str:
    """Keys with type, default and meaning."""
    head = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(row, all_files) for row in rows)])


def _row(row: Row, all_files: int) -> str:
    if len(row.defaults) == 1:
        default = code(next(iter(row.defaults)))
    else:
        default = "<br>".join(f"{code(value)} ({', '.join(names)})" for value, names in row.defaults.items())
    return f"| {code(row.name)} | {row.type} | {default} | {text(row.meaning)} |"


def code(value: str) -> str:
    """A value as it is written, in a cell of a table; none where there is none to write."""
    if value == "???":
        return "must be given"
    return "`" + value.replace("|", "\\|") + "`"


def text(comment: str) -> str:
    """A comment as Markdown: keys, values and paths in it as code."""
    words = re.findall(r"\S*\{[^}]*\}\S*|\S+", comment.replace("|", "or"))
    return " ".join(_word(word, before) for word, before in zip(words, ["", *words], strict=False))


def _word(word: str, before: str) -> str:
    core = word.strip("(),.;:'\"")
    if re.fullmatch(r"docs/\S+\.md", core) and (DOCS / core.removeprefix("docs/")).is_file():
        link = f"[](../../{core.removeprefix('docs/')})"  # with the page's title for its text
        return word.replace(core, link if before == "see" else f"See {link}.")
    looks_like_code = re.search(r"[=_{*^]|\w/\w|^[a-z]+\.[a-z]", core) and core != "e.g"
    return word.replace(core, f"`{core}`", 1) if looks_like_code else word.replace("<", "\\<")


def _configuration_index(configs: Path) -> str:
    pages = "\n".join(TOP_GROUPS)
    return f"""# Configuration

Every key that `patchlight-train` knows, with its type, its default and its meaning. The tables are made of the YAML
files, their comments, and the signatures that check the keys, so that they are those of this version. `key=value` on
the command line sets a key, `group=choice` chooses a file; `+key=value` gives a class an argument that is in no file.

Later ones win: defaults, experiment, sweep, launcher, local, debug, command line.

{key_table(top_level(configs))}

```{{toctree}}
:maxdepth: 2

{pages}
presets
```
"""


def _presets_page(configs: Path) -> str:
    parts = ["# Experiments, sweeps, launchers", "Files that set keys of several groups at once, whole."]
    for group in PRESETS:
        plus = "+" if group == "data/augment" else ""
        parts.append(f"## {group}")
        for path in sorted((configs / group).glob("*.yaml")):
            parts.append(f"### {plus}{group}={path.stem}\n\n{text(read_config(path).description)}")
            parts.append(f"```yaml\n{path.read_text(encoding='utf-8').strip()}\n```")
    return "\n\n".join(parts)


def command_page(configs: Path, verb: str, said: str) -> str:
    """The page of one command: what it prints for `--help`, and a table of its keys."""
    parts = [f"# patchlight-{verb}", _first_sentence(said), f"```text\n$ patchlight-{verb} --help\n{said}\n```"]
    schema = command_schema(verb)
    if schema is not None:
        rows = list(command_rows(configs, verb, schema))
        parts.insert(2, key_table(rows))
    elif verb == "train":
        parts.insert(2, "Its keys are those of the [configuration](../configuration/index.md).")
    return "\n\n".join(parts)


def command_schema(verb: str) -> dict[str, Any] | None:
    """The JSON schema of a command's configuration; None of a command that has none of its own."""
    module = import_module(f"patchlight.cli.{COMMANDS[verb]}")
    own = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, CommandConfig))
    config = next((value for value in own if value is not CommandConfig), None)
    return config.model_json_schema() if config is not None else None


def _first_sentence(said: str) -> str:
    """What a command does, from Hydra's header or the paragraph after argparse's usage."""
    found = re.search(r"^patchlight-\w+: (.+)$", said, re.MULTILINE) or re.search(r"\n\n([^.]+\.)", said)
    assert found is not None
    words = " ".join(found.group(1).split())
    return words[0].upper() + words[1:]


def _commands_index(helps: dict[str, str]) -> str:
    lines = [f"| [`patchlight-{verb}`]({verb}.md) | {_first_sentence(helps[verb])} |" for verb in COMMANDS]
    table = "\n".join(["| Command | |", "|---|---|", *lines])
    names = "\n".join(COMMANDS)
    return f"""# Commands

Each is also a verb of `python -m patchlight`, such as `python -m patchlight train`. Every command takes `key=value`
(`patchlight-download` options) and `--help`.

{table}

```{{toctree}}
:hidden:

{names}
```
"""


def module_page(module: str) -> str:
    """The page of one package, whose names autodoc describes."""
    found = import_module(module)
    names: list[str] = getattr(found, "__all__", [])
    # What a module imports is its users' only where it says so; what it imports once asked, autodoc does not find.
    imported = "   :imported-members:\n" if names else ""
    late = [name for name in names if name not in vars(found)]
    functions = "".join(f"\n.. autofunction:: {module}.{name}\n" for name in late)
    return (
        f"# {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n{imported}"
        f"   :exclude-members: {', '.join([*late, *_described_before(module), '__version__'])}\n{functions}```\n"
    )


def _described_before(module: str) -> list[str]:
    """The names of a package that a package before it in `MODULES` has, too: one page describes them."""
    found, before = import_module(module), map(import_module, MODULES[: MODULES.index(module)])
    described = [vars(other).get(name) for other in before for name in getattr(other, "__all__", [])]
    return [
        name for name in getattr(found, "__all__", []) if any(vars(found).get(name, module) is x for x in described)
    ]


def _python_index() -> str:
    lines = "\n".join(MODULES)
    return f"""# Python

What scripts, notebooks and modules of your own import. Shapes are written B C H W; images are in [-1, 1] unless it
says otherwise.

```{{toctree}}
:maxdepth: 1

{lines}
```
"""
