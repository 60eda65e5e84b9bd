"""The training with a plain `lightning.Trainer`, as its user runs it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch.nn.functional import l1_loss

from patchlight import load

FILE = Path(__file__).resolve().parents[2] / "examples/plain_trainer.py"


@pytest.mark.untraced
def test_a_plain_trainer_leaves_a_checkpoint_that_load_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("plain_trainer", FILE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    translated = example.main(tmp_path, [*example.SMALL, "data.val_size=2"])

    terms = re.findall(r"^epoch (\d): g_l1 (\S+), g_gan \S+$", capsys.readouterr().out, re.MULTILINE)
    assert [epoch for epoch, _ in terms] == ["1", "2"]
    path = tmp_path / "checkpoints/pix2pix.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 20)
    assert checkpoint["patchlight"]["config"]["model"]["generator"]["ngf"] == 8
    assert translated.shape == (1, 3, 64, 64)
    # The weights are those that were trained: others make another image.
    with torch.no_grad():
        checkpoint["state_dict"] = {name: torch.zeros_like(value) for name, value in checkpoint["state_dict"].items()}
    torch.save(checkpoint, path)
    assert l1_loss(load(path)(translated), translated) > 0.01
