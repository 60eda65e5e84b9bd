"""The parts of the site that are made of the code: keys with types and meanings, links, docstrings."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from sphinx.errors import ExtensionError

import patchlight
from doc_blocks import pages
from patchlight.config.compose import compose_config, config_dir, dotted
from patchlight.config.validation.values import checker
from patchlight.system.job_record import VARIABLE
from patchlight_site import slug
from site_docstrings import escape
from site_groups import Group, Row, meaning, read_group, read_groups, top_level
from site_links import from_the_root, redirect_links
from site_reference import COMMANDS, command_helps, command_page, command_schema, key_table, module_page
from site_types import type_text
from site_yaml import read_config

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"

CHOSEN = {"data.source", "data.augment", "model.adversarial", "model.discriminator_augment", "model.optimizer_d"}
"""Keys that hold the object of a group's file, which have tables of their own."""

pytestmark = pytest.mark.untraced


@cache
def groups() -> list[Group]:
    return read_groups(config_dir())


def rows() -> dict[str, Row]:
    return {name: row for group in groups() for table in group.tables.values() for name, row in table.items()}


def test_every_key_of_every_file_has_a_type_and_a_meaning() -> None:
    found = [row for group in groups() for table in group.tables.values() for row in table.values()]
    assert len(found) > 250
    assert [row.name for row in [*found, *top_level(config_dir())] if not row.meaning or not row.type] == []


def test_every_file_of_a_group_says_what_it_is() -> None:
    silent = [f"{group.name}/{file.name}" for group in groups() for file in group.files if not file.description]
    assert [name for name in silent if name != "paths/default"] == []


def test_every_key_of_a_training_is_in_the_reference() -> None:
    known = {*rows(), *(row.name for row in top_level(config_dir()))}
    for overrides in (["model=pix2pix"], ["model=cyclegan", "callbacks=ema", "logger=tensorboard", "data=unpaired"]):
        cfg = compose_config("train", [*overrides, "data.root=somewhere"])
        plain: Any = OmegaConf.to_container(cfg, resolve=False)
        keys = {key for key, _ in dotted(plain) if not key.rpartition(".")[2].startswith("_")}
        assert keys - known - CHOSEN == set()


def test_a_key_has_the_type_that_checks_it_and_the_default_of_each_file() -> None:
    patchgan = read_group(config_dir(), "model/discriminator").tables["patchlight.networks.PatchDiscriminator"]
    depth = patchgan["model.discriminator.n_layers"]
    assert depth.type == "integer ≥ 1 and ≤ 16"
    assert depth.defaults == {
        "3": ["default", "patch70"], "4": ["patch142"], "1": ["patch16"], "5": ["patch286"], "2": ["patch34"],
    }  # fmt: skip
    assert rows()["model.penalties.r1.gamma"].defaults == {"10.0": ["r1"]}
    assert rows()["data.direction"].type == "`AtoB` or `BtoA`"
    assert rows()["data.val_size"].type == "integer ≥ 0 or `auto`"
    assert rows()["trainer.devices"].defaults["auto"] == ["ddp", "ddp_spawn"]
    assert rows()["model.optimizer.betas"].type == "list (number ≥ 0 and < 1, number ≥ 0 and < 1)"


def test_types_in_words() -> None:
    hints = {bool | None: "`true`, `false` or `null`", list[str]: "list (text)", dict[str, int]: "group of keys"}
    assert {hint: type_text(checker(hint).json_schema()) for hint in hints} == hints


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("a | b: what it chooses", "what it chooses"),
        ("reflect | zero", ""),
        ("null | auto (the last one) | a path", "null | auto (the last one) | a path"),
        ("batches; -1: no limit", "batches; -1: no limit"),
    ],
)
def test_the_choices_of_a_comment_are_left_to_the_type(comment: str, expected: str) -> None:
    assert meaning(comment) == expected


def test_reading_a_file_with_what_it_is_derived_from(tmp_path: Path) -> None:
    (tmp_path / "_base.yaml").write_text("one: 1 # first\nlist: [1, 2]\n")
    (tmp_path / "own.yaml").write_text(
        "# @package model\n# What it is:\n# two lines.\ndefaults:\n  - _base\n  - _self_\n_target_: a.B\none: 2\n"
        "inner: # of another\n  _target_: c.D\n  text: 'x # y' # said\nplain: {a: 1}\n"
    )
    file = read_config(tmp_path / "own.yaml")
    assert (file.package, file.description, file.target) == ("model", "What it is: two lines.", "a.B")
    found = {key.name: (key.value, key.comment, key.target) for key in file.keys.values() if "_" not in key.name}
    assert found == {
        "one": ("2", "first", "a.B"), "list": ("[1, 2]", "", "a.B"), "inner.text": ("'x # y'", "said", "c.D"),
        "plain": ("{a: 1}", "", "a.B"),
    }  # fmt: skip


def test_a_file_that_sets_keys_of_another_group_says_so() -> None:
    pix2pix = read_group(config_dir(), "model").also["pix2pix"]
    assert [(key.name, key.value) for key in pix2pix] == [("generator", "{dropout: true, norm: batch}")]


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if verb not in ("train", "download")])
def test_every_key_of_every_command_has_a_type_and_a_meaning(verb: str) -> None:
    schema = command_schema(verb)
    assert schema is not None
    page = command_page(config_dir(), verb, f"patchlight-{verb}: what it does.")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert {cells[0].strip("`") for cells in lines} == set(schema["properties"])
    assert [cells for cells in lines if len(cells) != 4 or not all(cells)] == []


def test_asking_for_help_leaves_the_environment_to_the_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("COLUMNS", "90")
    helps = command_helps()
    assert helps.keys() == COMMANDS.keys()
    assert all(len(text) > 100 for text in helps.values())
    assert VARIABLE not in os.environ
    assert os.environ["COLUMNS"] == "90"


def test_a_table_of_keys() -> None:
    row = Row("a.b", "integer", "see docs/speed.md, or {x: 1} | y", {"1": ["one"], "2": ["two", "three"]})
    assert key_table([row]).splitlines()[2] == (
        "| `a.b` | integer | `1` (one)<br>`2` (two, three) | see [](../../speed.md), or `{x: 1}` or y |"
    )


def test_functions_that_a_package_imports_once_asked_are_on_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(patchlight), "load", raising=False)
    assert ".. autofunction:: patchlight.load\n" in module_page("patchlight")
    assert "autofunction" not in module_page("patchlight.networks")
    sources = module_page("patchlight.data.sources")
    assert "   :exclude-members: Header, ImageSource, PairSource, __version__\n" in sources


def test_links_out_of_the_folder_lead_to_pages_or_to_the_repository() -> None:
    text = "[a](../SECURITY.md#x) ![b](../.github/images/patch_map.png) [c](../configs/data) [d](../docs/speed.md)"
    assert redirect_links("demo", text, DOCS, None) == (
        "[a](project/security.md#x) ![b](../.github/images/patch_map.png) c [d](speed.md)"
    )
    assert redirect_links("howto/a", "[c](../../configs/data)", DOCS, "https://x/blob/1") == (
        "[c](https://x/blob/1/configs/data)"
    )
    with pytest.raises(ExtensionError, match=re.escape("demo: [c](../nowhere) leads to no file")):
        redirect_links("demo", "[c](../nowhere)", DOCS, None)
    assert from_the_root("[a](docs/x.md) [b](https://c) [d](#e)", "project/a.md") == (
        "[a](../../docs/x.md) [b](https://c) [d](#e)"
    )


def test_docstrings_are_plain_text_with_code() -> None:
    assert escape("a * b, |x|, `code_*` and ``more*``, name_ but a_b") == (
        r"a \* b, \|x\|, ``code_*`` and ``more*``, name\_ but a_b"
    )


def test_anchors_of_notebooks_are_those_of_the_site() -> None:
    assert slug("L1-against-L1-+-GAN") == "l1-against-l1--gan"


OTHER_KEYS = re.compile(
    r"model\.optimizers\.\w+|model\.reader|model\.discriminator\.antialias|.*_target_|.*\.(NAME|KEY)|data/(features|facades)"
    r"|.*\.(py|yaml|onnx|pt2|safetensors|json|ckpt|csv)"
)
"""Keys that only some methods or classes take, places for the reader's own names, and files."""

KEY_IN_TEXT = re.compile(
    r"[+~]?((?:data|model|trainer|callbacks|logger|perf|paths)[./][\w./]*\w)(\.\{[\w,]+\})?(?:=.*|\.)?"
)


def keys_in_text(text: str) -> list[str]:
    """The keys of a training that a page has as code in its text, `model.generator.{ngf,norm}` as two."""
    found: list[str] = []
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        for match in filter(None, map(KEY_IN_TEXT.fullmatch, code.split())):
            ends = match[2][2:-1].split(",") if match[2] else [""]
            found += [f"{match[1]}.{end}".rstrip(".") for end in ends]
    return found


def test_keys_in_the_text_of_pages_are_keys() -> None:
    known = set(rows()) | {path.relative_to(config_dir()).as_posix() for path in config_dir().rglob("*")}
    known |= {".".join(parts[:n]) for parts in (name.split(".") for name in rows()) for n in range(1, len(parts))}
    assert keys_in_text("`model.x=1 +data/y=z` `callbacks.best.{a,b}` other.x `model.z.`") == [
        "model.x", "data/y", "callbacks.best.a", "callbacks.best.b", "model.z",
    ]  # fmt: skip
    pages_and_keys = [(page.name, key) for page in pages() for key in keys_in_text(page.read_text(encoding="utf-8"))]
    assert len(pages_and_keys) > 150
    assert [pair for pair in pages_and_keys if pair[1] not in known and not OTHER_KEYS.fullmatch(pair[1])] == []
