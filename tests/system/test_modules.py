"""A user's modules beside the YAML files and in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patchlight.checkpoint import RECORD_KEY, recorded_config
from patchlight.config.command_line import check_command_line
from patchlight.config.validation import validate
from patchlight.errors import ConfigError, DataError
from patchlight.system.job_record import VARIABLE, choose_folders, search_folders


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """Folders for `--config-dir` and to be in, and a path of this process that is put back afterwards."""
    given, here = tmp_path / "with: a colon", tmp_path / "here"
    for folder in (given, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return given, here


def composed(given: Path, target: str) -> None:
    (cfg,) = check_command_line([f"--config-dir={given}", f"model.discriminator._target_={target}"], "train")
    search_folders()
    validate(cfg)


def test_both_folders_come_after_all_that_is_installed(folders: tuple[Path, Path]) -> None:
    before = [*sys.path]
    choose_folders(str(folders[0]))
    search_folders()
    search_folders()
    assert sys.path == [*before, *map(str, folders)]


@pytest.mark.parametrize("place", [0, 1])
def test_a_class_in_either_is_checked_by_its_signature(folders: tuple[Path, Path], place: int) -> None:
    code = "class Mine:\n    def __init__(self, in_channels: int, ndf: int, n_layers: int, norm: str) -> None: ...\n"
    (folders[place] / f"a_module_{place}.py").write_text(code)
    with pytest.raises(ConfigError) as raised:
        composed(folders[0], f"a_module_{place}.Mine")
    assert str(raised.value) == (
        "model.discriminator.spectral_norm is no key of the configuration: model.discriminator has in_channels, "
        "n_layers, ndf, norm; if a file sets it, '~model.discriminator.spectral_norm' leaves it out"
    )


def test_of_a_missing_module_it_is_said_where_it_was_looked_for(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError) as raised:
        composed(folders[0], "no_such_module.part.Mine")
    assert str(raised.value) == (
        "model.discriminator._target_=no_such_module.part.Mine cannot be imported: No module named 'no_such_module'; "
        f"it is neither installed nor in {folders[0]} or {folders[1]}"
    )


def test_a_module_that_one_imports_in_vain_is_named_alone(folders: tuple[Path, Path]) -> None:
    (folders[1] / "imports_in_vain.py").write_text("import no_such_library\n")
    with pytest.raises(ConfigError, match="cannot be imported: No module named 'no_such_library'$"):
        composed(folders[0], "imports_in_vain.Mine")


def test_an_installed_module_goes_before_one_of_its_name(folders: tuple[Path, Path]) -> None:
    (folders[1] / "torchmetrics.py").write_text("class Mine: ...\n")
    with pytest.raises(ConfigError) as raised:
        composed(folders[0], "torchmetrics.Mine")
    said = f"__init__.py is installed and goes before {folders[1] / 'torchmetrics.py'}: choose another name for yours"
    assert str(raised.value).endswith(said)


def test_a_checkpoint_reaches_them_only_with_trust(folders: tuple[Path, Path]) -> None:
    choose_folders(str(folders[0]))
    before = [*sys.path]
    checkpoint = {RECORD_KEY: {"config": {"model": {"_target_": "a_module.Method"}}}}
    with pytest.raises(DataError, match="Give trust=true"):
        recorded_config(checkpoint, "x.ckpt", trust=False)
    assert sys.path == before
    recorded_config(checkpoint, "x.ckpt", trust=True)
    assert sys.path == [*before, *map(str, folders)]


def test_without_a_command_it_is_the_current_folder(folders: tuple[Path, Path]) -> None:
    before = [*sys.path]
    search_folders()
    assert sys.path == [*before, str(folders[1])]


def test_the_command_does_not_find_them_before_what_is_installed(folders: tuple[Path, Path]) -> None:
    """`python -m` alone would: a hydra.py in the current folder would run in place of the library."""
    (folders[1] / "hydra.py").write_text("raise SystemExit('the file in the current folder')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "patchlight", "translate", "--cfg=job"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "patchmap: false" in done.stdout
