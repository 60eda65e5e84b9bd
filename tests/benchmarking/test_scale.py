"""The bytes that `benchmarks/scale.py` counts are those that a training averages, copies and writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, distributed
from torch.utils.data import DataLoader

from patchlight.build import build_data, build_method, data_channels
from patchlight.config.compose import compose_config
from patchlight.parallel import PerNetworkDDP, ranks_of_this_job

REPOSITORY = Path(__file__).resolve().parents[2]

SIZE = 32

COMMON = (
    f"data.image_size={SIZE}", "data.load_size=40", "data.batch_size=2", "data.num_workers=0", "data.val_size=1",
    "model.discriminator.ndf=4",
)  # fmt: skip

RESNET = ("model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4")

SMALL = {
    "pix2pix": ("model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4",
                "model.discriminator.n_layers=1", "model/optimizer_d=sgd"),
    "CycleGAN": (*RESNET, "model.pool_size=3", "model.discriminator.n_layers=1"),
    "CUT": (*RESNET, "model.nce_layers=[4,8]", "model.sampler.nc=8", "model.discriminator.n_layers=1"),
    "pix2pixHD": ("model.generator.n_downsampling=2", "model.generator.n_blocks=1", "model.generator.ngf=4",
                  "model.discriminator.n_layers=1"),
}  # fmt: skip


class Count(Callback):
    """The bytes of the gradients that are averaged in each step, by DistributedDataParallel's own buckets."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        assert isinstance(trainer.strategy, PerNetworkDDP)
        for wrapped in trainer.strategy._wrapped.values():
            wrapped.register_comm_hook(None, self._average)

    def _average(self, state, bucket):  # type: ignore[no-untyped-def]  # a hook's annotations may not be strings
        self.steps[-1] += bucket.buffer().nbytes
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.steps.append(0)


@pytest.fixture(scope="module")
def scale() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        import scale

        yield scale
    del sys.modules["scale"]


@pytest.mark.untraced
@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`", "ignore:The 'train_dataloader' does not have many"
)
def test_what_is_counted_is_what_a_training_moves(name: str, scale: Any, tiny_sets: Any, tmp_path: Path) -> None:
    words = (*scale.METHODS[name], *COMMON, *SMALL[name])
    root = tiny_sets("paired" if "data=paired" in words else "unpaired")
    cfg = compose_config("train", (*words, f"data.root={root}"))
    step = scale.Step.of(cfg)

    torch.manual_seed(0)
    method = build_method(cfg.model, data_channels(cfg.data))
    data = build_data(cfg.data, method).module
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["A"].nbytes + batch["B"].nbytes == step.to_device
    count = Count()
    with ranks_of_this_job():
        trainer = Trainer(
            accelerator="cpu", devices=1, strategy=PerNetworkDDP(), max_epochs=1, logger=False, callbacks=[count],
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            use_distributed_sampler=False, default_root_dir=tmp_path,
        )  # fmt: skip
        images = dict(zip("AB", torch.rand(2, 2, 3, SIZE, SIZE) * 2 - 1, strict=True))
        trainer.fit(method, train_dataloaders=DataLoader([images] * 2, batch_size=None))  # type: ignore[arg-type]
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        distributed.destroy_process_group()
    assert count.steps == [step.averaged] * 2

    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    weights = sum(value.numel() for value in saved["state_dict"].values())
    states = [state for optimizer in saved["optimizer_states"] for state in optimizer["state"].values()]
    kept = sum(value.numel() for state in states for key, value in state.items() if key != "step" and value is not None)
    assert 4 * (weights + kept) == step.checkpoint
    (rank,) = saved["ranks"]
    pools = [image.nbytes for pool in rank.get("pools", {}).values() for image in pool["images"]]
    assert sum(pools) == step.checkpoint_rank
    assert (len(pools) == 6) == (name == "CycleGAN")


def test_the_table_is_what_the_command_prints(scale: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """For the papers' networks; a change of theirs changes the page."""
    page = (REPOSITORY / "docs" / "scale.md").read_text(encoding="utf-8")
    commands = [line.split()[2:] for line in page.splitlines() if line.startswith("python benchmarks/scale.py")]
    counted = [words for words in commands if words[0] in ("bytes", "limits")]
    assert [words[0] for words in counted] == ["bytes", "limits"]
    for words in counted:
        scale.main(words)
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) >= 6
        assert printed in page


def test_what_binds(scale: Any) -> None:
    """Ten megabytes over a gigabyte a second between four ranks, one message with 2 x 3 hops of a millisecond."""
    step = scale.Step(1, 10_000_000, 0, 0, 0, 0, batch=2)
    machine = scale.Machine(network=1e9, latency=1e-3, storage=1e8, decode=0.03, workers=3)
    assert machine.network_s(step, 1) == 0
    assert machine.network_s(step, 4) == pytest.approx(2 * 3 / 4 * 0.01 + 6e-3)
    assert machine.storage_s(step, 50_000, 4) == pytest.approx(4 * 2 * 50_000 / 1e8)
    assert machine.decode_s(step) == pytest.approx(2 * 0.03 / 3)
