"""YAML files of a user's that cannot be meant: one message, which names the file and the line."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from patchlight.config.command_line import check_command_line
from patchlight.config.compose import config_dir
from patchlight.errors import ConfigError

HEADER = "# @package _global_\n"

FAULTS: dict[str, tuple[bytes, str]] = {
    "tab": (f"{HEADER}data:\n\tbatch_size: 2\n".encode(), "line 3: a tab where YAML takes spaces only"),
    "twice": (f"{HEADER}seed: 1\ntask: x\nseed: 2\n".encode(), "line 4: seed is there twice, first in line 2"),
    "twice within": (f"{HEADER}data:\n  flip: true\n  flip: false\n".encode(), "line 4: flip is there twice"),
    "byte order mark": (codecs.BOM_UTF8 + f"{HEADER}seed: 1\n".encode(), "line 1: .* byte order mark: save it"),
    "UTF-16": (f"{HEADER}seed: 1\n".encode("utf-16"), "line 1: the file is UTF-16: save it as UTF-8"),
    "latin": (f"{HEADER}seed: 1\n# caf\xe9\n".encode("latin-1"), "line 3: not UTF-8: save the file as UTF-8"),
    "empty": (b"", "line 1: the file is empty: write keys into it"),
    "blank": (b"\n \n", "line 1: the file is empty: write keys into it"),
    "itself": (f"{HEADER}a: &a [*a]\n".encode(), "line 2: a value has itself within it, by its own anchor"),
    "itself below": (f"{HEADER}\na: &a\n  b: {{c: *a}}\n".encode(), "line 4: a value has itself within it"),
    "list": (f"{HEADER}- seed\n- 1\n".encode(), "line 2: should be keys with values, key: value, and nothing else"),
    "word": (b"seed 1\n", "line 1: should be keys with values"),
    "unclosed": (f"{HEADER}seed: [1, 2\ntask: x\n".encode(), "line 3: while parsing a flow sequence"),
    "quote": (f"{HEADER}task: 'x\n".encode(), "line 3: while scanning a quoted scalar found unexpected end of stream"),
    "control character": (f"{HEADER}task: x\x07\n".encode(), "line 2: a character that YAML does not allow"),
    "unknown alias": (f"{HEADER}seed: *nothing\n".encode(), "line 2: found undefined alias"),
    "unknown group": (f"{HEADER}defaults:\n  - override /modell: pix2pix\n".encode(), "modell is no key .* mean model"),
    "unknown choice": (f"{HEADER}defaults:\n  - override /model: pix\n".encode(), "line 3: model=pix is no choice"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault(fault: str, tmp_path: Path) -> None:
    content, message = FAULTS[fault]
    path = tmp_path / "experiment" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refused:
        check_command_line([f"--config-dir={tmp_path}", "experiment=mine"], "train")
    assert str(refused.value).startswith(f"{path}, line ")
    assert "\n" not in str(refused.value)


def test_a_file_that_another_one_chooses(tmp_path: Path) -> None:
    for name, content in {"mine": "defaults: [other]\n", "other": "seed: 1\nseed: 2\n"}.items():
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{content}")
    with pytest.raises(ConfigError, match=r"experiment/other.yaml, line 3: seed is there twice"):
        check_command_line([f"--config-dir={tmp_path}", "experiment=mine"], "train")


def test_aliases_of_aliases_take_no_time(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 25)), "seed: 1", "seed: 2"]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="line 27: seed is there twice, first in line 26"):
        check_command_line([f"--config-dir={tmp_path}", "experiment=mine"], "train")


def test_folders_of_all_names(tmp_path: Path) -> None:
    folder = tmp_path / "my configs, [new] {x}"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 77\n")
    (cfg,) = check_command_line([f"--config-dir={folder}", "experiment=mine"], "train")
    assert cfg.seed == 77
    with pytest.raises(ConfigError, match="--config-dir=.*nowhere is not a folder: give one with experiment/NAME.yaml"):
        check_command_line([f"--config-dir={folder}/nowhere", "experiment=mine"], "train")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "experimnt=demo",
            "experimnt is no key of the configuration: did you mean experiment? there are ",
        ),
        ("model/discriminatr=patch70", "model/discriminatr is no group of choices: did you mean model/discriminator? "),
        ("modell/generator=unet_128", "modell/generator is no group of choices: did you mean model/generator? "),
    ],
)
def test_a_misspelt_group_is_told_the_groups(word: str, message: str, tmp_path: Path) -> None:
    """Those of a folder of the user's are among them, and parts of other files are not."""
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera" / "mine.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError) as refused:
        check_command_line([f"--config-dir={tmp_path}", word], "train")
    assert str(refused.value).startswith(message)
    told = set(str(refused.value).partition(" there are ")[2].split(", "))
    assert {"camera", "experiment", "model", "sweep"} <= told
    assert not any(name.startswith(("hydra", "wandb")) or "/_" in name for name in told)
    with pytest.raises(ConfigError, match="^experiment is no key of the configuration: there are backend, "):
        check_command_line(["experiment=demo"], "translate")


COMMANDS = sorted(path.stem for path in config_dir().glob("*.yaml"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_configuration_of_another_command(command: str) -> None:
    for other in set(COMMANDS) - {command}:
        with pytest.raises(ConfigError, match=f"^--config-name={other} is the configuration of another command"):
            check_command_line(["-cn", other], command)
