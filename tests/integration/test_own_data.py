"""A LightningDataModule of the user's own, which yields batches and knows nothing of Patchlight."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from killing import differences

MODULE = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

class Noise(Dataset):
    def __init__(self, n, change):
        self.n, self.change = n, change
    def __len__(self):
        return self.n
    def __getitem__(self, i):
        numbers = torch.Generator().manual_seed(i)
        a, b = (torch.rand(channels, 32, 32, generator=numbers) * 2 - 1 for channels in (4, 3))
        sample = {"A": a, "B": b, "A_path": f"a {i}", "B_path": f"b {i}"}
        sample.update(eval(self.change)(sample))
        return sample

class OwnData(LightningDataModule):
    def __init__(self, n: int = 6, change: str = "lambda sample: {}", batch_size: int = 1):
        super().__init__()
        self.n, self.change, self.batch_size = n, change, batch_size
    def setup(self, stage):
        self.made = getattr(self, "made", {}) | {stage: Noise(self.n if stage == "fit" else 2, self.change)}
    def train_dataloader(self):
        return DataLoader(self.made["fit"])
    def val_dataloader(self):
        return DataLoader(self.made["validate"])
    def test_dataloader(self):
        return [DataLoader(self.made["test"])]

class Rest(Sampler):
    def __init__(self, begin, n):
        self.begin, self.n = begin, n
    def __len__(self):
        return self.n
    def __iter__(self):
        begin, self.begin = self.begin, 0
        return iter(range(begin, self.n))

class ResumableData(OwnData):
    begin = 0
    def begin_at(self, epoch, images):
        self.begin = images
    def train_dataloader(self):
        return DataLoader(self.made["fit"], self.batch_size, sampler=Rest(self.begin, self.n))

def no_data():
    return 3
"""

TRAIN = (
    "data=own", "model/generator=unet_128", "model.generator.num_downs=3", "model.generator.ngf=4", "logger=csv",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "model.schedule.n_epochs=2", "trainer=cpu",
    "model.schedule.n_epochs_decay=0", "trainer.log_every_n_steps=1", "callbacks.health=null",
)  # fmt: skip


@pytest.fixture
def train(patchlight_train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains on the module in `own/own_data.py`, with its configuration in `own/data/own.yaml`."""
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "own_data.py").write_text(MODULE)
    (tmp_path / "own" / "data" / "own.yaml").write_text("_target_: own_data.OwnData\nimage_size: 32\nchannels_a: 4\n")
    monkeypatch.setenv("PATCHLIGHT_MODULES", "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_data", raising=False)
    return lambda folder, *more: patchlight_train(
        f"--config-dir={tmp_path / 'own'}", *TRAIN, f"hydra.run.dir={folder}", *more
    )


def state(run: str) -> Any:
    return torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True)


# Some seconds: three trainings and an evaluation.
def test_train_resume_and_evaluate(train: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ("data._target_=own_data.ResumableData", "+data.n=12", "+data.batch_size=2", "trainer.max_steps=8")
    assert train("whole", *more).status == 0
    assert train("parts", *more, "trainer.max_steps=4", "callbacks.patch_maps=null").status == 0
    outcome = train("parts", *more, "resume=auto", "callbacks.patch_maps=null")
    assert outcome.status == 0, outcome.err
    assert "begins anew" not in outcome.err
    whole, parts = state("whole"), state("parts")
    assert (parts["global_step"], parts["position"]["epoch"], parts["position"]["batch"]) == (8, 1, 2)
    assert list(differences(whole["state_dict"], parts["state_dict"])) == []
    assert json.loads(Path("whole/manifest.json").read_text())["data"] == {
        "source": "own_data.ResumableData",
        "images": {"train": {"A": 12, "B": 12}, "val": {"A": 2, "B": 2}, "test": {"A": 2, "B": 2}},
    }
    metrics = json.loads(Path("whole/metrics.json").read_text())
    protocol = {key: metrics["protocol"][key] for key in ("images", "files", "preprocess", "batch_size")}
    assert protocol == {"images": 2, "files": None, "preprocess": "by own_data.ResumableData", "batch_size": 1}
    with Image.open("whole/samples/latest/00_real_A.png") as sample:
        assert (sample.mode, sample.size) == ("RGBA", (32, 32)), "the fourth channel is not lost"
        rgba = np.asarray(sample)
    numbers = torch.Generator().manual_seed(0)
    expected = ((torch.rand(4, 32, 32, generator=numbers).numpy() * 2 - 1 + 1) / 2 * 255).astype(np.uint8)
    assert np.abs(rgba.transpose(2, 0, 1).astype(int) - expected).max() <= 1
    assert Path("whole/samples/step_00000006_discriminator.png").is_file()

    from patchlight.cli.evaluate import main

    ckpt = "ckpt=whole/checkpoints/last.ckpt"
    monkeypatch.setattr(sys, "argv", ["patchlight-eval", ckpt, "output=refused"])
    with pytest.raises(SystemExit):
        main()
    assert (
        "names code that is not Patchlight's own, and nothing of it was loaded: data._target_"
        in capsys.readouterr().err
    )
    monkeypatch.setattr(sys, "argv", ["patchlight-eval", ckpt, "output=evaluated", "trust=true"])
    monkeypatch.chdir("own")
    monkeypatch.setattr(
        sys, "argv", ["patchlight-eval", "ckpt=../whole/checkpoints/last.ckpt", "output=out", "trust=true"]
    )
    main()
    assert json.loads(Path("out/metrics.json").read_text())["ckpt"]["figures"] == pytest.approx(metrics["last"])
    assert "images:  own_data.ResumableData" in capsys.readouterr().out


def test_without_a_way_to_begin_within_an_epoch_it_begins_anew(train: Any) -> None:
    assert train("run", "trainer.max_steps=4", "callbacks.patch_maps=null", "callbacks.samples=null").status == 0
    outcome = train("run", "trainer.max_steps=12", "resume=auto", "callbacks.patch_maps=null", "callbacks.samples=null")
    assert outcome.status == 0, outcome.err
    assert "OwnData has no begin_at(epoch, images), so epoch 0 begins anew" in outcome.err
    assert state("run")["global_step"] == 12
    assert state("run")["position"] == {"epoch": 1, "batch": 2, "images": 2, "ranks": 1}, "4 + 6 batches, and 2 more"


@pytest.mark.covered
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("+data.change=\"lambda s: {'A': s['A'] * 127 + 127}\"",), "the values of A go from "),
        (
            ("+data.change=\"lambda s: {'A': (s['A'] * 127 + 127).byte()}\"",),
            "A is torch.uint8 of shape (1, 4, 32, 32)",
        ),
        (("+data.change=\"lambda s: {'B_path': 3}\"",), "B_path is tensor([3]), not a text for each of 1 images"),
        (("data.channels_a=3",), "A has images of (4, 32, 32) (channels, height, width) where data.channels_a"),
        (("data.image_size=16",), "say (4, 16, 16)"),
        (("data._target_=own_data.no_data",), "data._target_=own_data.no_data makes a int: derive it from Lightning"),
        (("~data.image_size",), "data.image_size is not set: give data.image_size=VALUE"),
        (("data.channels_a=x",), "data.channels_a=x should be a valid integer"),
        (("+data.load_size=3",), "data.load_size is no key"),
    ],
)
def test_what_it_lacks_is_one_message(overrides: tuple[str, ...], message: str, train: Any) -> None:
    outcome = train("run", "trainer.max_steps=1", *overrides)
    assert outcome.status == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err
