from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor
from torch.utils.data import DataLoader

from patchlight.losses import GradientPenalty
from patchlight.methods import CycleGAN, Pix2Pix, TranslationMethod, schedules
from patchlight.methods.networks import frozen
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator

PIX2PIX_TERMS = {"g_gan", "g_l1", "g_total", "d_real", "d_fake", "d_total"}
CYCLEGAN_TERMS = {
    "g_gan_ab", "g_gan_ba", "cycle_a", "cycle_b", "identity_a", "identity_b", "d_a", "d_b", "g_total", "d_total",
}  # fmt: skip


def pix2pix(**settings: Any) -> Pix2Pix:
    torch.manual_seed(0)
    norm = "instance" if "penalties" in settings else "batch"
    return Pix2Pix(
        UNetGenerator(3, 3, num_downs=3, ngf=4, dropout=True),
        PatchDiscriminator(6, ndf=4, n_layers=1, norm=norm),
        **settings,
    )


def cyclegan(**settings: Any) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(
        ResNetGenerator(3, 3, n_blocks=1, ngf=4),
        ResNetGenerator(3, 3, n_blocks=1, ngf=4),
        PatchDiscriminator(3, ndf=4, n_layers=1, norm="instance"),
        PatchDiscriminator(3, ndf=4, n_layers=1, norm="instance"),
        **settings,
    )


def batches(n: int = 4, size: int = 16) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    images = [
        {"A": torch.rand(2, 3, size, size, generator=generator) * 2 - 1, "B": torch.rand(2, 3, size, size) * 2 - 1}
        for _ in range(n)
    ]
    return DataLoader(images, batch_size=None)  # type: ignore[arg-type]


class Record(Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.steps: list[int] = []
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.steps.append(trainer.global_step)
        self.rates.append(trainer.optimizers[1].param_groups[0]["lr"])


def fit(method: TranslationMethod, folder: Path, loader: DataLoader[Any] | None = None, **settings: Any) -> Record:
    record = Record()
    trainer = Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", **settings}, callbacks=[record], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(method, train_dataloaders=batches() if loader is None else loader)
    return record


@pytest.mark.parametrize(("make", "terms"), [(pix2pix, PIX2PIX_TERMS), (cyclegan, CYCLEGAN_TERMS)])
def test_terms_and_totals(make: Any, terms: set[str], tmp_path: Path) -> None:
    method = make()
    record = fit(method, tmp_path)
    assert record.steps == [1, 2, 3, 4]
    for i, metrics in enumerate(record.metrics):
        values = {name.removeprefix("train/"): v for name, v in metrics.items() if name.startswith("train/")}
        assert set(values) == terms
        assert metrics["images_seen"] == 2 * (i + 1)
        if isinstance(method, Pix2Pix):
            assert values["g_total"] == pytest.approx(values["g_gan"] + 100 * values["g_l1"], rel=1e-5)
            assert values["d_total"] == pytest.approx((values["d_real"] + values["d_fake"]) / 2, rel=1e-5)
        else:
            cycles = 10 * (values["cycle_a"] + values["cycle_b"])
            identities = 5 * (values["identity_a"] + values["identity_b"])
            total = values["g_gan_ab"] + values["g_gan_ba"] + cycles + identities
            assert values["g_total"] == pytest.approx(total, rel=1e-5)
            assert values["d_total"] == pytest.approx(values["d_a"] + values["d_b"], rel=1e-5)


@pytest.mark.parametrize("make", [pix2pix, cyclegan])
def test_one_batch_is_one_step(make: Any, tmp_path: Path) -> None:
    record = fit(make(), tmp_path, max_steps=3, max_epochs=-1)
    assert record.steps == [1, 2, 3]


@pytest.mark.parametrize("make", [pix2pix, cyclegan])
def test_no_figure_is_read_in_a_batch(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each would be waited for; what waits in other ways is seen there alone (`tests/gpu`)."""
    read: list[str] = []
    before: list[int] = []
    item = Tensor.item

    def noted(self: Tensor) -> Any:
        read.append("".join(traceback.format_stack(limit=5)))
        return item(self)

    monkeypatch.setattr(Tensor, "item", noted)
    method = make()
    step = method.optimise

    def optimise(*args: Any, **sides: bool) -> dict[str, Tensor]:
        terms = step(*args, **sides)
        read.clear()  # of an optimizer that counts its steps on the CPU
        return terms  # type: ignore[no-any-return]

    monkeypatch.setattr(method, "optimise", optimise)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
        callbacks=[LambdaCallback(on_train_batch_start=lambda *args: before.append(len(read)))],
    )  # fmt: skip
    trainer.fit(method, train_dataloaders=batches())
    assert before[1:] == [0, 0, 0], read  # what is read before the first is of the start


@pytest.mark.parametrize("make", [pix2pix, cyclegan])
def test_every_network_moves_and_nothing_stays_frozen(make: Any, tmp_path: Path) -> None:
    method = make()
    before = {name: value.clone() for name, value in method.named_parameters()}
    fit(method, tmp_path)
    assert all(p.requires_grad for p in method.parameters())
    moved = {name.split(".")[0] for name, value in method.named_parameters() if not torch.equal(value, before[name])}
    assert moved == set(method.networks)


def test_frozen_networks_pass_gradients_on_and_keep_none() -> None:
    critic = PatchDiscriminator(3, ndf=2, n_layers=1, norm="none")
    critic.layers[0].weight.requires_grad_(False)  # type: ignore[union-attr,operator]
    image = torch.zeros(1, 3, 8, 8, requires_grad=True)
    with frozen(critic):
        critic(image).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in critic.parameters())
    assert [p.requires_grad for p in critic.parameters()] == [False] + [True] * 4


def test_no_identity_loss_for_a_lambda_of_zero(tmp_path: Path) -> None:
    record = fit(cyclegan(lambda_identity=0.0), tmp_path)
    assert all(m["train/identity_a"] == 0 == m["train/identity_b"] for m in record.metrics)


@pytest.mark.parametrize("mode", ["lsgan", "hinge", "nonsaturating", "vanilla"])
def test_every_mode_trains(mode: Any, tmp_path: Path) -> None:
    assert all(v == v for m in fit(pix2pix(gan_mode=mode), tmp_path).metrics for v in m.values())


def test_wasserstein_with_its_penalty(tmp_path: Path) -> None:
    record = fit(pix2pix(gan_mode="wgangp", penalties={"gp": GradientPenalty()}), tmp_path)
    for m in record.metrics:
        expected = (m["train/d_real"] + m["train/d_fake"]) / 2 + 10 * m["train/d_gp"]
        assert m["train/d_total"] == pytest.approx(expected, rel=1e-4)
        assert 10 * m["train/d_gp"] > 0
    discriminators = [PatchDiscriminator(3, ndf=4, n_layers=1, norm="none") for _ in range(2)]
    method = CycleGAN(
        ResNetGenerator(3, 3, 1, 4), ResNetGenerator(3, 3, 1, 4), *discriminators,
        gan_mode="wgangp", penalties={"gp": GradientPenalty()},
    )  # fmt: skip
    assert {"train/d_gp_a", "train/d_gp_norm_b"} <= set(fit(method, tmp_path).metrics[-1])


def test_wasserstein_without_penalty_is_refused() -> None:
    with pytest.raises(ValueError, match="gan_mode=wgangp without a gradient penalty .* model.unpenalized_critic=true"):
        pix2pix(gan_mode="wgangp")
    assert pix2pix(gan_mode="wgangp", unpenalized_critic=True).adversarial.penalties is not None
    with pytest.raises(ValueError, match="penalties cannot be used with batch norm"):
        Pix2Pix(
            UNetGenerator(3, 3, 2, 2), PatchDiscriminator(6, 2), gan_mode="wgangp", penalties={"gp": GradientPenalty()}
        )


@pytest.mark.parametrize("name", ["lambda_a", "lambda_b", "lambda_identity"])
def test_negative_lambdas_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        cyclegan(**{name: -1.0})
    with pytest.raises(ValueError, match="lambda_l1 must not be negative"):
        pix2pix(lambda_l1=-1.0)


@pytest.mark.parametrize("mode", ["eval", "paper"])
def test_inference_changes_nothing(mode: Any) -> None:
    generator = UNetGenerator(3, 3, num_downs=6, ngf=2, dropout=True)
    method = Pix2Pix(generator, PatchDiscriminator(6, 2), inference_mode=mode).train()
    batch = next(iter(batches(size=64)))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    torch.manual_seed(7)
    random_state = torch.get_rng_state()
    first, second = method.translate(batch, noise_seed=3), method.translate(batch, noise_seed=3)
    assert torch.equal(first["fake_B"], second["fake_B"])
    assert not first["fake_B"].requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(module.training for module in method.modules())
    other = method.translate(batch, noise_seed=4)["fake_B"]
    assert torch.equal(first["fake_B"], other) == (mode == "eval")


def test_paper_mode_uses_the_statistics_of_the_batch() -> None:
    method = Pix2Pix(UNetGenerator(3, 3, num_downs=3, ngf=4), PatchDiscriminator(6, 2, 1), inference_mode="paper")
    batch = next(iter(batches()))
    with torch.no_grad():
        expected = method.generator.train()(batch["A"])
    method.eval()
    assert torch.equal(method.translate(batch)["fake_B"], expected)
    assert not method.generator.training


def test_translations_of_a_cycle() -> None:
    method = cyclegan()
    batch = next(iter(batches()))
    images = method.translate(batch)
    with torch.no_grad():
        fake_B = method.generator_ab(batch["A"])
        assert torch.equal(images["fake_B"], fake_B)
        assert torch.equal(images["rec_A"], method.generator_ba(fake_B))
    shown = {name for block in method.gallery for name, _ in block}
    assert shown == set(images) >= set(method.references) | set(method.references.values())


def test_plateau_needs_a_metric_that_exists(tmp_path: Path) -> None:
    def plateau(monitor: str) -> Any:
        return lambda optimizer: schedules.Plateau(optimizer, monitor=monitor, patience=0, threshold=10.0)

    with pytest.raises(
        ValueError, match="model.schedule.monitor=val/foo is not a metric of this run; there are: .*g_l1"
    ):
        fit(pix2pix(schedule=plateau("val/foo")), tmp_path)
    method = pix2pix(schedule=plateau("train/g_l1"))
    record = fit(method, tmp_path, max_epochs=3)
    assert record.rates[0] == pytest.approx(2e-4)
    assert record.rates[-1] == pytest.approx(2e-4 * 0.2**2)  # no epoch counts as better: reduced after each


def test_linear_schedule_over_epochs(tmp_path: Path) -> None:
    method = pix2pix(schedule=lambda optimizer: schedules.linear(optimizer, n_epochs=1, n_epochs_decay=3))
    record = fit(method, tmp_path, loader=batches(2), max_epochs=4)
    assert record.rates[::2] == pytest.approx([2e-4 * f for f in (1, 0.75, 0.5, 0.25)])


@pytest.mark.parametrize("make", [schedules.linear, schedules.step, schedules.cosine, schedules.constant])
def test_schedules_refuse_no_epochs(make: Any) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match="n_epochs and n_epochs_decay must not be negative and must add up"):
        make(optimizer, n_epochs=0, n_epochs_decay=0)


def test_checkpoint_of_a_cyclegan_holds_pools_and_images_seen(tmp_path: Path) -> None:
    method = cyclegan(pool_size=3)
    fit(method, tmp_path)
    checkpoint: dict[str, Any] = {}
    method.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "c.ckpt")
    restored = cyclegan(pool_size=3)
    restored.on_load_checkpoint(torch.load(tmp_path / "c.ckpt", weights_only=True))
    restored.on_train_start()
    assert restored.images_seen == 8
    assert len(restored.pool_a) == 3
    images = torch.arange(20.0).view(20, 1, 1, 1).expand(20, 3, 16, 16)
    assert torch.equal(restored.pool_a.query(images), method.pool_a.query(images))


def test_order_of_the_networks_is_the_reference_codes() -> None:
    method = cyclegan()
    assert method.generators == (method.generator_ab, method.generator_ba)
    assert method.discriminators == (method.discriminator_a, method.discriminator_b)
    # In the optimizer as in the reference code, whose D_A judges domain B.
    assert list(method.moved_by("d")) == ["discriminator_b", "discriminator_a"]


def test_batches_may_be_mappings_of_any_kind(tmp_path: Path) -> None:
    class Frozen(Mapping[str, Tensor]):
        def __init__(self, data: dict[str, Tensor]) -> None:
            self.data = data

        def __getitem__(self, key: str) -> Tensor:
            return self.data[key]

        def __iter__(self) -> Any:
            return iter(self.data)

        def __len__(self) -> int:
            return len(self.data)

    images = pix2pix().translate(Frozen(next(iter(batches()))))
    assert set(images) == {"real_A", "fake_B", "real_B"}


def test_noise_of_other_devices_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that this machine has not: its state is kept, set by the seed, and put back; no other one is touched."""
    from patchlight.methods.inference import _noise

    mps, states = torch.device("mps"), {"mps": torch.tensor([7])}
    module = SimpleNamespace(
        get_rng_state=lambda device: states[device.type], set_rng_state=lambda s, d: states.update({d.type: s})
    )
    seeded = SimpleNamespace(manual_seed=lambda seed: SimpleNamespace(get_state=lambda: torch.tensor([seed])))
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    monkeypatch.setattr(torch, "Generator", lambda device: seeded)
    with _noise([mps], seed=3):
        assert states["mps"].tolist() == [3]
        states["mps"] = torch.tensor([4])
    assert states["mps"].tolist() == [7]


def test_a_translation_seeds_no_device_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = UNetGenerator(3, 3, num_downs=6, ngf=2, dropout=True)  # the first that has a layer with dropout
    method = Pix2Pix(generator, PatchDiscriminator(6, 2, 1), inference_mode="paper")
    (batch,) = batches(1, size=64)
    torch.manual_seed(5)
    expected = method.translate(batch, noise_seed=5)["fake_B"]
    before = torch.get_rng_state()

    def refuse(seed: int) -> None:
        raise AssertionError("the random numbers of every device would begin anew")

    monkeypatch.setattr(torch, "manual_seed", refuse)
    assert torch.equal(method.translate(batch, noise_seed=5)["fake_B"], expected)
    assert not torch.equal(method.translate(batch, noise_seed=6)["fake_B"], expected)
    assert torch.equal(torch.get_rng_state(), before)
