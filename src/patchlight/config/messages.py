"""What is wrong with a configuration that cannot be composed, or with one of its files, and what would be right."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    codecs.BOM_UTF8: "UTF-8 with a byte order mark",
}

REPLACED_KEYS = {
    "trainer.gradient_clip_val": "model.clip_g and model.clip_d",
    "trainer.gradient_clip_algorithm": "model.clip_g and model.clip_d, which bound the norm",
    "trainer.accumulate_grad_batches": "model.accumulate",
}
"""Settings of Lightning's that have no effect in manual optimization, and the keys to use in their place."""

NO_GROUPS = ("hydra", "wandb")
"""Folders of YAML files beside the groups: Hydra's settings, and sweeps that W&B's agent starts."""

EXTRAS = {
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/sweeper/optuna": "optuna",
}
"""Launchers and sweepers that are plugins of Hydra, and what of this package brings them."""


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of a choice such as `experiment/demo`."""
    return next((f / f"{name}.yaml" for f in folders if (f / f"{name}.yaml").is_file()), None)


def first_fault(folders: Sequence[Path], overrides: Sequence[str]) -> str | None:
    """What is wrong with a file of these folders, looking first at those that the overrides choose."""
    words = {override.rpartition("=")[2] for override in overrides}
    files = [path for folder in folders for path in sorted(folder.rglob("*.yaml"))]
    found = map(fault, sorted(files, key=lambda path: path.stem not in words))
    return next(filter(None, found), None)


def fault(path: Path) -> str | None:
    """What is wrong with a file that is no text in UTF-8, no YAML, or no group of keys: its name, line and why."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return f"{path}, line 1: the file is {encoding}: save it as UTF-8 without byte order mark"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"{path}, line {line}: not UTF-8: save the file as UTF-8"
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        what = " ".join(f"{error.context or ''} {error.problem or 'no YAML'}".split())
        if "'\\t'" in what:
            what = "a tab where YAML takes spaces only: indent with spaces"
        return f"{path}, line {place.line + 1 if place else 1}: {what}"
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        return f"{path}, line {line}: a character that YAML does not allow"
    except RecursionError:
        return f"{path}, line 1: nested too deeply"
    if tree is None:
        return None if content.strip() else f"{path}, line 1: the file is empty: write keys into it, or a comment"
    if not isinstance(tree, yaml.MappingNode):
        return f"{path}, line {tree.start_mark.line + 1}: should be keys with values, key: value, and nothing else"
    return next((f"{path}, line {line}: {what}" for line, what in _odd_places(tree, (), set())), None)


def _odd_places(node: yaml.Node, above: tuple[yaml.Node, ...], seen: set[int]) -> Iterator[tuple[int, str]]:
    """Keys that are there twice, and values that have themselves within them; aliases are followed once."""
    if any(node is parent for parent in above):
        yield above[-1].start_mark.line + 1, "a value has itself within it, by its own anchor: leave the alias out"
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    yield line, f"{key.value} is there twice, first in line {lines[key.value]}: keep one of them"
                lines[key.value] = line
    for item in node.value:
        for child in item if isinstance(node, yaml.MappingNode) else (item,):
            yield from _odd_places(child, (*above, node), seen)


def explain(error: Exception, config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """One message for what went wrong in composing, with the names that would have been right."""
    messages = list(_messages(error))
    for cause, message in messages:
        if isinstance(cause, MissingConfigException) and cause.options:
            wrong = str(cause.missing_cfg_file)
            if wrong in EXTRAS:
                return f"{wrong.rpartition('/')[2]} is not installed: pip install 'patchlight[{EXTRAS[wrong]}]'"
            group, _, choice = wrong.rpartition("/")
            place = "" if any(f"{group}=" in o for o in overrides) else _place(choice, overrides, folders)
            return f"{place}{group}={choice} is no choice: {_did_you_mean(choice, cause.options)}"
        match = re.search(r"Could not override '([^']+)'", message)
        if match:
            place = _place(match[1], overrides, folders) if message.startswith("In '") else ""
            key = match[1].split("@")[0]
            groups = groups_in(folders) if config_name == "train" else []
            if "/" in key:
                return f"{place}{key} is no group of choices: {_did_you_mean(key, groups)}"
            return place + _unknown_key(key, config_name, overrides, [group for group in groups if "/" not in group])
    return f"the configuration cannot be composed: {one_line(messages[-1][1])}"


def _place(word: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """The first line with a word in the files that these overrides choose, with a colon; nothing if there is none."""
    for group, choice in (override.lstrip("+").partition("=")[::2] for override in overrides):
        path = find(f"{group}/{choice}", folders)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path is not None else []
        for number, line in enumerate(lines, start=1):
            if word in line:
                return f"{path}, line {number}: "
    return ""


def one_line(text: object) -> str:
    """A message without line breaks."""
    return " ".join(str(text).split())


def _messages(error: BaseException | None) -> Iterator[tuple[BaseException, str]]:
    while error is not None:
        yield error, str(error)
        error = error.__cause__


def groups_in(folders: Sequence[Path]) -> list[str]:
    """The groups of which a training has a choice, `model/discriminator` and the like, by the folders of YAML files."""
    found = {path.parent.relative_to(folder) for folder in folders for path in folder.glob("*/**/*.yaml")}
    return sorted(group.as_posix() for group in found if is_for_users(group.as_posix()))


def is_for_users(group: str) -> bool:
    """Whether a group is there to be chosen from: not a part of other files, nor of NO_GROUPS."""
    return not group.startswith(NO_GROUPS) and not any(part.startswith(("_", ".")) for part in group.split("/"))


def _unknown_key(key: str, config_name: str, overrides: Sequence[str], groups: Sequence[str]) -> str:
    """The message for a key that is not there; of the first level are groups, too."""
    kept = [o for o in overrides if not o.lstrip("+~").startswith(f"{key}=")]
    try:
        valid = compose(config_name, overrides=kept)
    except (HydraException, OmegaConfBaseException):
        valid = compose(config_name)
    parent, _, leaf = key.rpartition(".")
    node: Any = OmegaConf.select(valid, parent) if parent else valid
    while not isinstance(node, DictConfig) and parent:
        parent, _, leaf = parent.rpartition(".")
        node = OmegaConf.select(valid, parent) if parent else valid
    if not parent:
        return unknown_key(leaf, {*(str(k) for k in node), *groups})
    return unknown_key(f"{parent}.{leaf}", [str(k) for k in node])


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """The message for a key that is not there, with its valid siblings."""
    if key in REPLACED_KEYS:
        return f"{key} has no effect on a GAN, whose optimizers step by hand: use {REPLACED_KEYS[key]}"
    parent, _, leaf = key.rpartition(".")
    place = f"{parent} has" if parent else "there are"
    return f"{key} is no key of the configuration: {_did_you_mean(leaf, valid, place)}"


def _did_you_mean(wrong: str, valid: Iterable[str], place: str = "there are") -> str:
    names = sorted(name for name in valid if not name.startswith("_"))
    close = difflib.get_close_matches(wrong, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}{place} {', '.join(names)}"
