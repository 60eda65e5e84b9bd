"""How the networks are moved: accumulation, clipping, turns, own optimizers, penalties, and what is not finite."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from tiny_methods import SGD, assert_equal, cut, cyclegan, fit, images, pix2pix, pix2pixhd
from torch import nn
from torch.utils.data import DataLoader

from patchlight.errors import ConfigError, TrainingError
from patchlight.losses import R1, R2, GradientPenalty
from patchlight.methods import NetworkSpec, Pix2Pix
from patchlight.methods.optimization import Loss
from patchlight.networks import PatchDiscriminator, UNetGenerator

MAKE = pytest.mark.parametrize("make", [pix2pix, cyclegan, pix2pixhd])


@pytest.mark.parametrize("make", [pix2pix, cyclegan, pix2pixhd, cut])
def test_four_batches_of_one_are_one_of_four(make: Any, tmp_path: Path) -> None:
    small, large = make(optimizer=SGD, accumulate=4), make(optimizer=SGD)
    a, b = fit(small, tmp_path, images(16)), fit(large, tmp_path, images(16, batch=4))
    assert_equal(small, large)
    assert a.trainer.global_step == 16  # type: ignore[attr-defined]
    assert (small.images_seen, small.d_steps) == (large.images_seen, large.d_steps) == (16, 4)
    assert [bool(moved) for moved in a.moved] == [False, False, False, True] * 4
    for i in range(4):
        ours = {k: v for k, v in a.figures[4 * i + 3].items() if k.startswith("train/")}
        assert ours == pytest.approx({k: v for k, v in b.figures[i].items() if k.startswith("train/")}, rel=1e-9)


def test_the_end_of_an_epoch_does_not_wait_for_more_batches(tmp_path: Path) -> None:
    rest, whole = pix2pix(optimizer=SGD, accumulate=4), pix2pix(optimizer=SGD)
    fit(rest, tmp_path, images(3))
    fit(whole, tmp_path, images(3, batch=3))
    assert_equal(rest, whole)


def test_computing_again_draws_the_same_dropout(tmp_path: Path) -> None:
    """With dropout, accumulated batches of one see the noise that they would see one after the other."""
    torch.manual_seed(0)
    generator = UNetGenerator(3, 3, num_downs=5, ngf=2, norm="none", dropout=True)
    method = Pix2Pix(generator, PatchDiscriminator(6, 2, 1, norm="none"), optimizer=SGD, accumulate=2)
    twin = copy.deepcopy(method)
    loader = DataLoader([{k: torch.rand(1, 3, 32, 32) for k in "AB"} for _ in range(2)], batch_size=None)  # type: ignore[arg-type]
    torch.manual_seed(5)
    with torch.no_grad():
        fakes = [twin.generator(batch["A"]) for batch in loader]
    torch.manual_seed(5)
    record = fit(method, tmp_path, loader, precision="32-true")
    l1 = sum(float((fake - b["B"]).abs().mean()) for fake, b in zip(fakes, loader, strict=True)) / 2
    assert record.figures[-1]["train/g_l1"] == pytest.approx(l1, rel=1e-5)


@pytest.mark.parametrize("n_optimizers", [1, 2, 4])
def test_seven_steps_are_seven_batches(n_optimizers: int, tmp_path: Path) -> None:
    """`max_steps` counts batches for any number of optimizers."""

    class Several(Pix2Pix):
        def configure_optimizers(self) -> Any:
            parameters = [*self.generator.parameters()]
            if n_optimizers == 1:
                return SGD([*parameters, *self.discriminator.parameters()])
            share = -(-len(parameters) // (n_optimizers - 1))
            groups = [parameters[i : i + share] for i in range(0, len(parameters), share)]
            return [SGD(group) for group in groups] + [SGD(self.discriminator.parameters())]

        def optimise(self, batches: Any, **turns: bool) -> Any:
            optimizers = self.optimizers()
            optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
            assert len(optimizers) == n_optimizers
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = (self.generator(batches[0]["A"]) - batches[0]["B"]).abs().mean()
            self.manual_backward(loss)
            for optimizer in optimizers:
                self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=lambda: None, model=self)
            return {"g_l1": loss}

        def on_train_epoch_start(self) -> None: ...

        def on_train_epoch_end(self) -> None: ...

    method = Several(UNetGenerator(3, 3, 3, 4, norm="none"), PatchDiscriminator(6, 4, 1, norm="none"))
    record = fit(method, tmp_path, images(5), max_steps=7, max_epochs=-1)
    assert len(record.figures) == record.trainer.global_step == method.images_seen == 7  # type: ignore[attr-defined]


@MAKE
def test_each_network_is_clipped_by_itself(make: Any, tmp_path: Path) -> None:
    seen: dict[str, float] = {}

    class Watch(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    seen[names[id(p)]] = seen.get(names[id(p)], 0.0) + float(p.grad.norm() ** 2)
            return super().step(closure)

    method = make(optimizer=partial(Watch, lr=0.1), clip_g=1e-3, clip_d=1e-4)
    names = {id(p): name.split(".")[0] for name, p in method.named_parameters()}
    fit(method, tmp_path, images(1))
    for name, spec in method.networks.items():
        assert seen[name] ** 0.5 == pytest.approx(1e-3 if spec.kind == "generator" else 1e-4, rel=1e-2)
    loose, free = make(optimizer=SGD, clip_g=1e6, clip_d=1e6), make(optimizer=SGD)
    fit(loose, tmp_path, images(2))
    fit(free, tmp_path, images(2))
    assert_equal(loose, free)


@MAKE
def test_the_discriminators_may_have_an_optimizer_of_their_own(make: Any, tmp_path: Path) -> None:
    method = make(optimizer=partial(torch.optim.RMSprop, lr=1e-4), optimizer_d=partial(torch.optim.Adam, lr=4e-4))
    record = fit(method, tmp_path, images(1))
    kinds = [(type(o), o.param_groups[0]["lr"]) for o in record.trainer.optimizers]  # type: ignore[attr-defined]
    assert kinds[0][0] is torch.optim.RMSprop
    assert kinds[1][0] is torch.optim.Adam
    assert kinds[1][1] == pytest.approx(4 * kinds[0][1])


OPTIMIZERS = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam", "Muon")  # need a closure, sparse gradients, matrices
)  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_pytorch_trains(name: str, tmp_path: Path) -> None:
    method = pix2pix(optimizer=partial(getattr(torch.optim, name), lr=1e-3))
    record = fit(method, tmp_path, images(2))
    assert record.moved == [{"generator", "discriminator"}] * 2
    assert all(v == v for figures in record.figures for v in figures.values())


@MAKE
def test_generators_move_in_every_third_step_of_the_discriminators(make: Any, tmp_path: Path) -> None:
    method = make(d_steps_per_g_step=3)
    record = fit(method, tmp_path, images(7))
    both, one = {"generator", "discriminator"}, {"discriminator"}
    assert record.moved == [one, one, both, one, one, both, one]
    assert method.d_steps == 7


@pytest.mark.parametrize("make", [pix2pix, cyclegan])
def test_discriminators_may_begin_later(make: Any, tmp_path: Path) -> None:
    method = make(discriminator_start=2)
    record = fit(method, tmp_path, images(4))
    assert record.moved == [{"generator"}] * 2 + [{"generator", "discriminator"}] * 2
    assert not any("gan" in name or "/d_" in name for figures in record.figures[:2] for name in figures)
    assert any("g_gan" in name for name in record.figures[2])
    assert method.d_steps == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "accumulate must be an integer of at least 1, got 0"),
        ({"d_steps_per_g_step": 0}, "d_steps_per_g_step must be an integer of at least 1"),
        ({"discriminator_start": -1}, "discriminator_start must be an integer of at least 0"),
        ({"clip_g": 0.0}, "clip_g must be positive, or null for no clipping, got 0.0"),
        ({"clip_d": -1.0}, "clip_d must be positive"),
        ({"on_nonfinite": "hope"}, "on_nonfinite must be stop or skip, got 'hope'"),
        ({"gan_mode": "relativistic", "real_label": 0.9}, "no meaning for gan_mode=relativistic"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pix2pix(**settings)


@MAKE
def test_penalties_add_up_and_are_lazy(make: Any, tmp_path: Path) -> None:
    method = make(gan_mode="nonsaturating", penalties={"r1": R1(gamma=2.0, interval=2), "r2": R2(gamma=6.0)})
    record = fit(method, tmp_path, images(3))
    letters = [""] if make is not cyclegan else ["_a", "_b"]
    for i, f in enumerate(record.figures):
        scale, names = (0.5, ("d_real", "d_fake")) if make is not cyclegan else (1.0, ("d_a", "d_b"))
        own = [scale * f[f"train/{name}"] for name in names]
        penalties = sum(3.0 * f[f"train/d_r2{x}"] + (2.0 * f[f"train/d_r1{x}"] if i != 1 else 0) for x in letters)
        assert f["train/d_total"] == pytest.approx(sum(own) + penalties, rel=1e-9)
        for x in letters:  # one image, so the mean of the norms is the norm
            assert f[f"train/d_r2_norm{x}"] ** 2 == pytest.approx(f[f"train/d_r2{x}"], rel=1e-6)
    assert record.figures[1][f"train/d_r1{letters[0]}"] == record.figures[0][f"train/d_r1{letters[0]}"]


@MAKE
def test_the_relativistic_loss_compares(make: Any, tmp_path: Path) -> None:
    method = make(gan_mode="relativistic", penalties={"r1": R1(gamma=0.1), "r2": R2(gamma=0.1)})
    record = fit(method, tmp_path, images(3))
    names = set(record.figures[-1])
    assert {"train/d_pair", "train/g_gan"} <= names or {"train/d_a", "train/g_gan_ab"} <= names
    assert record.moved[-1] == {"generator", "discriminator"}


@MAKE
def test_what_is_not_finite_stops_before_anything_moves(make: Any, tmp_path: Path) -> None:
    method = make(optimizer=SGD)
    with pytest.raises(TrainingError) as caught:
        fit(method, tmp_path, images(4, spoilt=2))
    text = str(caught.value)
    assert "is nan in batch 3, made of a2.png, b2.png" in text
    assert text.startswith("d_real is nan" if make is not cyclegan else "identity_b is nan")
    twin = make(optimizer=SGD)
    fit(twin, tmp_path, DataLoader(list(images(4))[:2], batch_size=None))  # type: ignore[arg-type]
    assert_equal(method, twin, rtol=0)


@MAKE
def test_what_is_not_finite_may_be_left_out(make: Any, tmp_path: Path) -> None:
    method = make(norm="batch", optimizer=SGD, on_nonfinite="skip")
    record = fit(method, tmp_path, images(4, spoilt=1))
    assert [f["skipped_steps"] for f in record.figures] == [0, 1, 1, 1]
    assert record.moved[1] == set()
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())
    twin = make(norm="batch", optimizer=SGD)
    batches = list(images(4))
    fit(twin, tmp_path, DataLoader([batches[i] for i in (0, 2, 3)], batch_size=None))  # type: ignore[arg-type]
    assert_equal(method, twin, rtol=0)


def test_the_loss_scale_is_taken_out_before_clipping(tmp_path: Path) -> None:
    """As with float16 on a GPU: a scaler multiplies the loss, and the step is the one without it."""
    scaled, plain = pix2pix(optimizer=SGD, clip_g=0.01, clip_d=0.01), pix2pix(optimizer=SGD, clip_g=0.01, clip_d=0.01)

    class Scaled(MixedPrecision):
        """A scaler without the narrow type."""

        def forward_context(self) -> Any:
            return torch.autocast("cpu", enabled=False)

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    loader = DataLoader([{k: v.float() for k, v in b.items() if k in "AB"} for b in images(3)], batch_size=None)  # type: ignore[arg-type]
    fit(scaled, tmp_path, loader, precision=None, plugins=[Scaled("16-mixed", "cpu", scaler)])
    fit(plain, tmp_path, loader, precision="32-true")
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(scaled.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_wgan_gp_is_what_it_was(tmp_path: Path) -> None:
    method = pix2pix(gan_mode="wgangp", penalties={"gp": GradientPenalty(kind="real", weight=3.0)})
    f = fit(method, tmp_path, images(1)).figures[0]
    assert f["train/d_gp"] == pytest.approx((f["train/d_gp_norm"] - 1) ** 2, rel=1e-6)
    assert f["train/d_total"] == pytest.approx((f["train/d_real"] + f["train/d_fake"]) / 2 + 3 * f["train/d_gp"])


class WithEncoder(Pix2Pix):
    """A method with a third network, which its author forgot somewhere."""

    def __init__(self, *networks: Any, **settings: Any) -> None:
        super().__init__(*networks, **settings)
        self.encoder = nn.Conv2d(3, 3, 1)


class Tabled(WithEncoder):
    networks = {**Pix2Pix.networks, "encoder": NetworkSpec("auxiliary", reads=("A",), optimizer="e")}


def with_encoder(kind: type[Pix2Pix], **settings: Any) -> Pix2Pix:
    networks = UNetGenerator(3, 3, 3, 4, norm="none"), PatchDiscriminator(6, 4, 1, norm="none")
    return kind(*networks, optimizer=SGD, **settings)


def test_weights_outside_of_the_table_are_refused_by_name(tmp_path: Path) -> None:
    method = with_encoder(WithEncoder)
    message = r"WithEncoder.encoder has weights to be trained \(encoder.weight\) and is not in its table of networks"
    with pytest.raises(ConfigError, match=message):
        fit(method, tmp_path, images(1))
    method.encoder.requires_grad_(False)
    assert fit(method, tmp_path, images(1)).moved == [{"generator", "discriminator"}]


def test_weights_that_no_optimizer_moves_are_refused_by_name(tmp_path: Path) -> None:
    class Forgotten(Tabled):
        def configure_optimizers(self) -> Any:
            optimizers, schedules = super().configure_optimizers()
            return optimizers[:2], schedules[:2]

    message = r"Forgotten.encoder has weights to be trained \(encoder.weight\) that are in no optimizer"
    with pytest.raises(ConfigError, match=message):
        fit(with_encoder(Forgotten), tmp_path, images(1))


def test_a_network_in_no_loss_is_refused_by_name(tmp_path: Path) -> None:
    class Unnamed(Tabled):
        def optimise(self, batches: Any, *, update_g: bool, update_d: bool) -> Any:
            return {"total": self.compute_gradients(self.sides()["e"], [Loss(dict, [self.generator])])}

    with pytest.raises(ConfigError, match=r"Unnamed.encoder is moved by an optimizer, and no Loss of this step"):
        fit(with_encoder(Unnamed), tmp_path, images(1))


def test_optimizers_by_name(tmp_path: Path) -> None:
    own = partial(torch.optim.Adam, lr=4e-4)
    method = with_encoder(Tabled, optimizers={"e": own})
    assert method.optimizer_names == ("g", "d", "e")
    optimizers, _ = method.configure_optimizers()
    assert [type(o) for o in optimizers] == [torch.optim.SGD, torch.optim.SGD, torch.optim.Adam]
    assert optimizers[2].param_groups[0]["params"] == list(method.encoder.parameters())
    assert isinstance(with_encoder(Tabled).configure_optimizers()[0][2], torch.optim.SGD)
    with pytest.raises(ValueError, match="optimizers.f moves no network of Tabled: .* are g, d, e, of which"):
        with_encoder(Tabled, optimizers={"f": own})
