"""Patchlight's own ways, set up to be timed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from patchlight.benchmarking.cases import StepCase
from patchlight.build import build_method, build_performance
from patchlight.checkpoint import RECORD_KEY, make_record
from patchlight.config.compose import compose_config
from patchlight.data import ImageDataModule, normalise
from patchlight.data.content import Colours
from patchlight.data.processing import read
from patchlight.data.sources import domains_of
from patchlight.data.sources.folders import Folders
from patchlight.methods import Pix2Pix
from patchlight.methods.networks import frozen
from patchlight.parallel.networks import HALF, resolve_precision
from patchlight.system.devices import device_of, retain_allocator_memory

SET = ["data.render.n_train=48", "data.render.n_test=2", "data.val_size=0"]


def train(spec: dict[str, Any]) -> None:
    """Training steps of `patchlight-train` with everything that it has by default; it takes its turns itself."""
    from patchlight.runs.run import train

    overrides = training_overrides(StepCase(**spec["case"]), spec)
    train(compose_config("train", [*overrides, f"paths.run_dir={spec['folder']}/{spec['name']}"]))


def training_overrides(case: StepCase, spec: dict[str, Any]) -> list[str]:
    """The command line of a training that takes turns and ends with its process, but for the folder of the run."""
    turns = {"_target_": "patchlight.benchmarking.turns.Turns", "line": spec["line"]}
    settings = ",".join(f"{key}:{value}" for key, value in turns.items())
    return [
        *case.overrides(), *SET, f"data.render.size={case.size}", f"trainer.accelerator={spec['accelerator']}",
        f"trainer.precision={spec['precision']}", f"+callbacks.turns={{{settings}}}", "trainer.max_epochs=100000",
        "callbacks.last.every_n_epochs=100000", "callbacks.last.every_n_minutes=null", "data.num_workers=0",
        f"paths.data_dir={spec['folder']}/data",
    ]  # fmt: skip


def bare_step(spec: dict[str, Any], folder: Path) -> Callable[[], None]:
    """A step of pix2pix with the networks, optimizers, layout and precision of a run, and nothing around them."""
    if spec["accelerator"] == "cpu":
        retain_allocator_memory()
    case = StepCase(**spec["case"])
    cfg = compose_config("train", [*case.overrides(), f"trainer.precision={spec['precision']}"])
    cfg.trainer.accelerator = spec["accelerator"]
    resolve_precision(cfg.trainer)
    method = build_method(cfg.model, {"A": 3, "B": 3})
    assert isinstance(method, Pix2Pix)
    build_performance(cfg.perf).apply(method, cfg.trainer.precision, cfg.trainer.accelerator)
    device = device_of(cfg.trainer.accelerator)
    method.to(device)
    generator, discriminator = method.generator, method.discriminator
    (optimizer_g, optimizer_d), _ = method.configure_optimizers()
    real_A, real_B = torch.rand(2, case.batch, 3, case.size, case.size, device=device) * 2 - 1
    half = cfg.trainer.precision in HALF

    def loss(logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            fake_B = generator(real_A)
            optimizer_d.zero_grad()
            loss_fake = loss(discriminator(torch.cat([real_A, fake_B.detach()], 1)), 0.0)
            loss_real = loss(discriminator(torch.cat([real_A, real_B], 1)), 1.0)
            torch.autograd.backward(0.5 * (loss_fake + loss_real))
            optimizer_d.step()
            optimizer_g.zero_grad()
            with frozen(discriminator):
                gan = loss(discriminator(torch.cat([real_A, fake_B], 1)), 1.0)
                torch.autograd.backward(gan + 100 * F.l1_loss(fake_B, real_B))
            optimizer_g.step()

    return step


def our_input(spec: dict[str, Any], folder: Path) -> Callable[[], None]:
    """An epoch over training pairs, 286 to 256 pixels with flips, up to what the step sees; the first fills the cache.

    It runs in one process with one thread.
    """
    torch.set_num_threads(1)
    data = ImageDataModule(
        Path(spec["root"]), "paired", num_workers=0, cache=spec["cache"], val_size=0, max_train=spec["images"]
    )
    data.setup()
    loader = data.train_dataloader()
    numbers = iter(range(10**9))

    def epoch() -> None:
        loader.sampler.set_epoch(next(numbers))  # type: ignore[attr-defined]
        for batch in loader:
            normalise(batch)

    return epoch


def our_translation(spec: dict[str, Any], folder: Path) -> Callable[[], None]:
    """All files of a folder, as `patchlight-translate` does them."""
    from patchlight.inference import load
    from patchlight.inference.jobs import Job
    from patchlight.inference.onnx import speed_up
    from patchlight.inference.pipeline import translate_files

    translator = load(spec["checkpoint"], device=str(device_of(spec["accelerator"])), precision="auto")
    speed_up(translator, spec["backend"], compile=False)
    jobs = [Job(file, folder / f"{file.stem}.png") for file in sorted(Path(spec["files"]).iterdir())]

    def translate() -> None:
        failures = translate_files(translator, jobs)
        assert not failures, failures

    return translate


def checkpoint(spec: dict[str, Any], folder: Path) -> Callable[[], None]:
    """A checkpoint of a case's networks as they are before training, which takes them as long as afterwards."""
    overrides = StepCase(**spec["case"]).overrides()
    cfg = compose_config("train", [*overrides, "paths.run_dir=.", "trainer.max_epochs=1"])
    torch.manual_seed(0)
    method = build_method(cfg.model, {"A": 3, "B": 3})
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return lambda: torch.save({"state_dict": method.state_dict(), RECORD_KEY: make_record(config)}, spec["path"])


TASKS = {task.__name__: task for task in (bare_step, our_input, checkpoint, our_translation)}


def write_inputs(root: Path, size: int, images: int, folder: Path) -> None:
    """So many square images of domain A in files of their own, from the test split or, failing that, the other."""
    found = Folders(root, "paired", "auto")
    sources = domains_of(found(split="test"), "paired").a
    if len(sources) < images:
        sources = domains_of(found(split="train"), "paired").a
    folder.mkdir(parents=True, exist_ok=True)
    for i, source in enumerate(islice(cycle(sources), images)):
        Image.fromarray(read(source, Colours(3))).resize((size, size)).save(folder / f"{i:03d}.png")
