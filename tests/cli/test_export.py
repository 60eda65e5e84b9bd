"""`patchlight-export` as it is typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from patchlight.cli import export


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["patchlight-export", *arguments])
    try:
        export.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ckpt is not set: give ckpt=PATH"),
        (["ckpt=x"], "output is not set: give output=FILE.onnx"),
        (["ckpt=x", "output=model"], "output=model should end in .onnx, .pt2, .safetensors; a folder is for"),
        (["ckpt=x", "output=model.onnx", "format=pt2"], "output=model.onnx should end in .pt2"),
        (["ckpt=x", "output=model.onnx", "format=reference"], "output=model.onnx should be a folder"),
        (["ckpt=x", "output=model.onnx", "range=0"], "range=0 should be 'normalised', 'unit', 'bytes' or 'values'"),
        (["ckpt=x", "output=model.onnx", "opset=9"], "opset=9 should be at least 18"),
        (["ckpt=x", "outptu=model.onnx"], "outptu is no key of the configuration: did you mean output?"),
        (["ckpt=none.ckpt", "output=model.onnx"], "none.ckpt is not there"),
    ],
)
def test_one_message_for_what_is_wrong(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("patchlight-export: ")
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_text("precious", encoding="utf-8")
    assert run(monkeypatch, "ckpt=none.ckpt", "output=model.onnx") == 1
    assert "output=model.onnx is there already: choose another name, or give overwrite=true" in capsys.readouterr().err
    assert Path("model.onnx").read_text(encoding="utf-8") == "precious"


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    assert "patchlight-export: a trained model as a file that needs no Patchlight." in capsys.readouterr().out
