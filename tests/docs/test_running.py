"""Every command and code block of README.md and docs/ is run on tiny settings, or says why not."""

from __future__ import annotations

import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from doc_blocks import Block, Command, all_commands, blocks, commands, write_files_of_pages
from doc_runs import NOT_RUN, SIDE, Reader, Shelf, cut_sweep, why_not
from patchlight.runs import session
from patchlight.system.job_record import VARIABLE

pytestmark = pytest.mark.untraced

RUN_BLOCKS = [b for b in blocks() if b.language in ("bash", "python") and not (b.reason or b.test or b.file)]
PAGES = list(dict.fromkeys(block.page for block in RUN_BLOCKS))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def reader(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    return Reader(tmp_path / "reader", shelf, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_from_top_to_bottom(page: str, reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    write_files_of_pages(reader.folder)
    names: dict[str, Any] = {}
    for block in (block for block in RUN_BLOCKS if block.page == page):
        if block.language == "python":
            run_python(block, reader, names)
            continue
        for command in commands(block):
            if why_not(command) is None:
                capsys.readouterr()
                status = run_script(command) if command.patchlight is None else reader.run(command)
                said = capsys.readouterr()
                assert status == 0, f"{block.place}: {' '.join(command.words)}\n{said.err}\n{said.out}"


def run_script(command: Command) -> int:
    """Run `python FILE ARGUMENTS` in this process."""
    assert command.words[0] == "python"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(command.words[1:]))
        runpy.run_path(command.words[1], run_name="__main__")
    return 0


def run_python(block: Block, reader: Reader, names: dict[str, Any]) -> None:
    """Run a block of Python with the pictures and arrays that it speaks of, and with what earlier ones have defined."""
    compose = session._compose
    picture = Image.open(reader.shelf.get("pictures") / "0.jpg")
    given = {"horse": picture, "picture": picture, "array": np.asarray(picture), "tensor": torch.zeros(3, 64, 64)}
    picture.save("photo.jpg")
    for path, kind in (("logs/zebra", "cyclegan"), ("RUN", "pix2pix")):
        if path in block.text:
            reader.link(path, reader.shelf.get(kind))
    for name, value in (given | {"size": SIDE}).items():
        names.setdefault(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_compose", lambda words, folder: compose(reader.prepare_training(list(words)), folder))
        exec(compile(block.text, block.place, "exec"), names)


def test_most_commands_run_and_all_others_say_why_not() -> None:
    reasons = Counter(why_not(command) for command in all_commands())
    others = {command.words[0] for command in all_commands() if why_not(command) is None and command.patchlight is None}
    assert others <= {"python", "cd"}
    assert reasons[None] > 0.65 * reasons.total()
    assert reasons.keys() > NOT_RUN.keys()
    plain = [block for block in blocks() if block.language == "python" and not block.file]
    assert {block.page for block in plain if block.reason} == set()


def test_sweeps_are_cut_to_two_jobs() -> None:
    assert cut_sweep(["-m", "seed=0,1,2", "a=1", "b=x,y", "c=[1,2]"]) == ["-m", "seed=0,1", "a=1", "b=x", "c=[1,2]"]
    words = ["sweep=patch_size", "experiment=demo"]
    assert cut_sweep(words) == [*words, "model/discriminator=pixel,patch34"]
    assert cut_sweep([*words, "seed=0,1"])[-2:] == ["seed=0,1", "model/discriminator=pixel"]
