"""Training that begins with imported weights: `init_from`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from commands import Typed
from patchlight.build import build_method, data_channels
from patchlight.callbacks import EMA
from patchlight.config.compose import compose_config
from patchlight.data import SyntheticSet
from patchlight.errors import ConfigError
from patchlight.interop import reference_state_dict
from patchlight.networks import PatchDiscriminator, UNetGenerator
from patchlight.runs.resume import load_initial_weights

QUICK = (
    "data.root=set", "data.image_size=32", "data.load_size=36", "data.num_workers=0", "data.val_size=2", "logger=csv",
    "trainer=cpu", "callbacks.patch_maps=null",
)  # fmt: skip


@pytest.fixture
def imported(typed: Typed) -> list[str]:
    """The arguments by which `patchlight-import` says training goes on from a folder's files, in net.ckpt."""
    torch.manual_seed(3)
    Path("old").mkdir()
    torch.save(reference_state_dict(UNetGenerator(3, 3, num_downs=5, ngf=4)), "old/latest_net_G.pth")
    torch.save(reference_state_dict(PatchDiscriminator(6, ndf=4, n_layers=1)), "old/latest_net_D.pth")
    SyntheticSet(n_train=6, n_test=2, size=64).write(Path("set"), "paired")
    status, said, _ = typed("import_weights", "input=old", "output=net.ckpt")
    assert status == 0
    return shlex.split(
        said.partition("to go on with training: patchlight-train ")[2].removesuffix(" data.root=FOLDER\n")
    )


def test_the_command_that_is_printed_goes_on_with_the_weights(typed: Typed, imported: list[str]) -> None:
    """With a learning rate of nothing, what comes out is what went in; with one, it has moved."""
    before = torch.load("net.ckpt", weights_only=True)["state_dict"]
    still = [*imported, *QUICK, "model.optimizer.lr=1e-30", "hydra.run.dir=run", "trainer.max_steps=1", "callbacks=ema"]
    status, _, complaints = typed("train", *still)
    assert status == 0, complaints
    after = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert after["global_step"] == 1
    learned = [key for key in before if re.search(r"\.(weight|bias)$", key)]
    assert len(learned) >= 30
    assert all((after["state_dict"][key] - before[key]).abs().max() < 1e-20 for key in learned)
    averaged = [key for key in learned if key.startswith("generator")]
    assert all((after["ema"][key] - before[key]).abs().max() < 1e-6 for key in averaged)
    assert after["patchlight"]["config"]["init_from"] == "net.ckpt"
    # The run goes on with its own weights, whatever it began with.
    status, said, complaints = typed(
        "train", *imported, *QUICK, "hydra.run.dir=run", "trainer.max_steps=4", "resume=auto"
    )
    assert status == 0, complaints
    assert "going on from last.ckpt, batch 1" in said
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    status, _, complaints = typed("train", *imported, *QUICK, "hydra.run.dir=moving", "trainer.max_steps=1")
    assert status == 0, complaints
    moved = torch.load("moving/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    steps = [(moved[key] - before[key]).abs().max() for key in learned if key.endswith("weight")]
    assert all(0 < step < 3e-4 for step in steps)  # Adam's first step is of the size of the learning rate


@pytest.mark.usefixtures("imported")
def test_only_networks_and_averages_are_taken() -> None:
    given = ["model/generator=unet_256", "model.generator.num_downs=5", "model.generator.ngf=4", "data=paired"]
    given += ["model/discriminator=patch16", "model.discriminator.ndf=4", "data.root=x", "model.real_label=0.9"]
    cfg = compose_config("train", given)
    method = build_method(cfg.model, data_channels(cfg.data))
    checkpoint = torch.load("net.ckpt", weights_only=True)
    checkpoint["ema"] = {k: v * 2 for k, v in checkpoint["state_dict"].items() if k.startswith("generator")}
    checkpoint["ema_batches"] = 11
    torch.save(checkpoint, "net.ckpt")
    ema = EMA()
    callbacks: dict[str, Callback] = {"ema": ema}
    load_initial_weights("net.ckpt", None, method, callbacks, is_resuming=False)
    for name in method.networks:
        for key, value in method.get_submodule(name).state_dict().items():
            assert torch.equal(value, checkpoint["state_dict"][f"{name}.{key}"])
    assert torch.equal(ema.averages["generator.encoder.0.0.weight"], checkpoint["ema"]["generator.encoder.0.0.weight"])
    assert ema.batches == 11
    assert float(method.state_dict()["adversarial.objective.real_label"]) == pytest.approx(0.9)
    with pytest.raises(ConfigError, match="init_from begins a new training and resume goes on with one"):
        load_initial_weights("net.ckpt", "other.ckpt", method, callbacks, is_resuming=True)
    other = build_method(compose_config("train", [*given, "model.generator.ngf=8"]).model, {"A": 3, "B": 3})
    with pytest.raises(ConfigError, match="init_from=net.ckpt holds other networks than model describes"):
        load_initial_weights("net.ckpt", None, other, callbacks, is_resuming=False)


def test_an_imported_checkpoint_is_not_resumed(typed: Typed, imported: list[str]) -> None:
    without = [word for word in imported if not word.startswith("init_from")]
    status, _, complaints = typed("train", *without, *QUICK, "resume=net.ckpt")
    assert status == 1
    assert complaints == (
        "patchlight-train: resume=net.ckpt holds weights alone: begin with them by init_from=net.ckpt\n"
    )


def test_a_local_enhancer_begins_with_a_trained_global_generator(typed: Typed) -> None:
    """pix2pixHD in two commands: coarse first, then jointly at twice the resolution and with one scale more."""
    SyntheticSet(n_train=6, n_test=2, size=64).write(Path("set"), "paired")
    common = [
        "model=pix2pixhd", "data=paired", *QUICK, "callbacks=ema", "trainer.max_steps=1", "model.discriminator.ndf=4",
        "model.generator.n_downsampling=2", "model.generator.n_blocks=1", "model.discriminator.n_layers=1",
    ]  # fmt: skip
    status, _, complaints = typed("train", *common, "model.generator.ngf=4", "hydra.run.dir=coarse")
    assert status == 0, complaints
    joint = [
        *common, "data.image_size=64", "data.load_size=64", "model/generator=local_enhancer", "model.generator.ngf=2",
        "model.discriminator.num_scales=3", "model.generator.n_blocks_local=1", "model.optimizer.lr=1e-30",
        "init_from=coarse/checkpoints/last.ckpt", "hydra.run.dir=joint",
    ]  # fmt: skip
    status, said, complaints = typed("train", *joint)
    assert status == 0, complaints
    for name in ("generator", "discriminator"):
        assert f"{name} begins with the weights of a smaller network in coarse/checkpoints/last.ckpt" in said
    before, after = (torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True) for run in ("coarse", "joint"))
    trunk = {key: value for key, value in before["state_dict"].items() if key.startswith("generator.trunk.")}
    assert len(trunk) > 10
    decay = (1 + before["ema_batches"]) / (10 + before["ema_batches"])  # of the one batch, of the averages' warm-up
    for key, value in trunk.items():
        name = key.replace(".trunk.", ".coarse.")
        torch.testing.assert_close(after["state_dict"][name], value, rtol=1e-6, atol=1e-12)
        average = before["ema"][key] * decay + value * (1 - decay)
        torch.testing.assert_close(after["ema"][name], average, rtol=1e-5, atol=1e-9)
    for key, value in before["state_dict"].items():
        if key.startswith("discriminator."):
            torch.testing.assert_close(after["state_dict"][key], value, rtol=1e-6, atol=1e-12)
    assert "discriminator.scales.2.0.0.weight" in after["state_dict"]
    assert "generator.enhancers.0.down.1.weight" in after["ema"]
