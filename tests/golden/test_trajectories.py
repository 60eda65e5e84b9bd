"""Twenty optimisation steps of each method, in float64, against the reference's losses and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from golden import Golden, antialias, files, load
from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.methods import CUT, CycleGAN, Pix2Pix, Pix2PixHD, TranslationMethod
from patchlight.networks import (
    GlobalGenerator,
    InstanceNorm2d,
    MultiscaleDiscriminator,
    PatchDiscriminator,
    PatchSample,
    PatchSampleMLP,
    PixelDiscriminator,
    ResNetGenerator,
    UNetGenerator,
    feature_channels,
)

# The figures are not part of the repository, so that its coverage does not rest on them.
pytestmark = pytest.mark.untraced

PIX2PIX_TERMS = {"G_GAN": ("g_gan", 1.0), "G_L1": ("g_l1", 100.0), "D_real": ("d_real", 1.0), "D_fake": ("d_fake", 1.0)}
"""The reference's name of a term, ours, and the weight that the reference has in its figure."""

CYCLEGAN_TERMS = {
    "D_A": ("d_b", 1.0),
    "G_A": ("g_gan_ab", 1.0),
    "cycle_A": ("cycle_a", 10.0),
    "idt_A": ("identity_b", 5.0),
    "D_B": ("d_a", 1.0),
    "G_B": ("g_gan_ba", 1.0),
    "cycle_B": ("cycle_b", 10.0),
    "idt_B": ("identity_a", 5.0),
}

PIX2PIXHD_TERMS = {
    "G_GAN": ("g_gan", 1.0), "G_GAN_Feat": ("g_feat", 10.0), "D_real": ("d_real", 1.0), "D_fake": ("d_fake", 1.0),
}  # fmt: skip


CUT_TERMS = {"G_GAN": "g_gan", "NCE": "g_nce", "NCE_Y": "g_nce_identity", "D_real": "d_real", "D_fake": "d_fake",
             "G": "g_total"}  # fmt: skip
"""The weights are options."""


class Record(Callback):
    """Keeps every step's loss terms and the images that the generators make in the last step."""

    def __init__(self) -> None:
        self.losses: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        logged = {name.removeprefix("train/"): value.clone() for name, value in trainer.callback_metrics.items()}
        self.losses.append(logged)


def pix2pix(golden: Golden) -> tuple[Pix2Pix, dict[str, nn.Module]]:
    options = golden.options
    norm = options.get("norm", "batch")
    channels_a, channels_b = golden.meta["shape_a"][1], golden.meta["shape_b"][1]
    generator = UNetGenerator(channels_a, channels_b, num_downs=7, ngf=int(options["ngf"]), norm=norm)
    in_channels, ndf = channels_a + channels_b, int(options["ndf"])
    discriminator: nn.Module = (
        PixelDiscriminator(in_channels, ndf=ndf, norm=norm)
        if options.get("netD") == "pixel"
        else PatchDiscriminator(in_channels, ndf=ndf, norm=norm)
    )
    method = Pix2Pix(generator, discriminator, gan_mode=options["gan_mode"], unpenalized_critic=True)
    return method, {"G": generator, "D": discriminator}


def cyclegan(golden: Golden) -> tuple[CycleGAN, dict[str, nn.Module]]:
    options = golden.options
    norm = options.get("norm", "instance")
    networks: dict[str, nn.Module] = {
        name: ResNetGenerator(3, 3, n_blocks=6, ngf=int(options["ngf"]), norm=norm)
        if name.startswith("G")
        else PatchDiscriminator(3, ndf=int(options["ndf"]), norm=norm)
        for name in golden.meta["models"]
    }
    method = CycleGAN(
        networks["G_A"],
        networks["G_B"],
        networks["D_B"],
        networks["D_A"],
        gan_mode=options["gan_mode"],
        lambda_identity=float(options["lambda_identity"]),
        pool_size=int(options["pool_size"]),
    )
    return method, networks


def pix2pixhd(golden: Golden) -> tuple[Pix2PixHD, dict[str, nn.Module]]:
    options = golden.options
    channels_a, channels_b = golden.meta["shape_a"][1], golden.meta["shape_b"][1]
    generator = GlobalGenerator(
        channels_a, channels_b, ngf=options["ngf"], n_downsampling=options["n_downsample_global"],
        n_blocks=options["n_blocks_global"], norm=options["norm"],
    )  # fmt: skip
    discriminator = MultiscaleDiscriminator(
        channels_a + channels_b, ndf=options["ndf"], n_layers=options["n_layers_D"], num_scales=options["num_D"],
        norm=options["norm"],
    )  # fmt: skip
    method = Pix2PixHD(
        generator, discriminator, gan_mode="vanilla" if options["no_lsgan"] else "lsgan",
        lambda_feat=0.0 if options["no_ganFeat_loss"] else options["lambda_feat"],
    )  # fmt: skip
    return method, {"G": generator, "D": discriminator}


def cut(golden: Golden) -> tuple[CUT, dict[str, nn.Module]]:
    options = golden.options
    width, layers = int(options["ngf"]), [int(number) for number in options["nce_layers"].split(",")]
    n_blocks = {"resnet_6blocks": 6, "resnet_9blocks": 9}[options["netG"]]
    generator = ResNetGenerator(3, 3, n_blocks=n_blocks, ngf=width, norm=options["normG"], antialias=antialias(options))
    discriminator = PatchDiscriminator(
        3, ndf=int(options["ndf"]), n_layers=options["n_layers_D"], norm=options["normD"],
        antialias=not options["no_antialias"],
    )  # fmt: skip
    sampler = PatchSampleMLP(feature_channels(generator, 3, layers), nc=options["netF_nc"])
    method = CUT(
        generator, discriminator, sampler, gan_mode=options["gan_mode"], lambda_gan=options["lambda_GAN"],
        lambda_nce=options["lambda_NCE"], nce_identity=options["nce_idt"], nce_layers=layers,
        num_patches=options["num_patches"], temperature=options["nce_T"],
        negatives="minibatch" if options["nce_includes_all_negatives_from_minibatch"] else "image",
        flip_equivariance=options["flip_equivariance"],
    )  # fmt: skip
    ids, flips = (iter(golden[name]) for name in ("patch_ids", "flips"))
    terms: Iterator[Any] = iter(())

    def draw_patch_ids(sizes: Sequence[int]) -> list[Tensor]:
        nonlocal terms
        drawn = next(terms, None)
        if drawn is None:
            terms = iter(next(ids))
            drawn = next(terms)
        assert [drawn[i].max() < size for i, size in enumerate(sizes)] == [True] * len(layers)
        return [torch.from_numpy(positions) for positions in drawn]

    method.draw_patch_ids = draw_patch_ids  # type: ignore[method-assign]
    method.draw_flip = lambda: bool(next(flips))  # type: ignore[method-assign]
    return method, {"G": generator, "F": sampler, "D": discriminator}


def run(golden: Golden, method: TranslationMethod, networks: dict[str, nn.Module], folder: Path) -> Record:
    for position, network in enumerate(networks.values()):
        keys = [(k, tuple(v.shape), str(v.dtype).split(".")[1]) for k, v in reference_state_dict(network).items()]
        load_reference_weights(network, golden.weights(keys, base=1000 * position))
    steps = golden.meta["steps"]
    batches = [
        {
            "A": golden.image(golden.meta["shape_a"], 2 * t).double(),
            "B": golden.image(golden.meta["shape_b"], 2 * t + 1).double(),
        }
        for t in range(steps)
    ]
    record = Record()
    trainer = Trainer(
        accelerator="cpu", devices=1, precision="64-true", max_steps=steps, max_epochs=1, callbacks=[record],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(method, train_dataloaders=torch.utils.data.DataLoader(batches, batch_size=None))
    assert trainer.global_step == steps
    return record


def compare(
    golden: Golden, record: Record, networks: dict[str, nn.Module], terms: dict[str, tuple[str, float]]
) -> None:
    expected = golden["losses_f64"]
    for column, name in enumerate(golden.meta["loss_names"]):
        ours, weight = terms[name]
        computed = np.array([float(step[ours]) * weight for step in record.losses])
        np.testing.assert_allclose(computed, expected[:, column], rtol=1e-7, atol=1e-9, err_msg=name)
    for name, network in networks.items():
        norms = [
            value.norm().item()
            for key, value in reference_state_dict(network).items()
            if value.is_floating_point() and not key.endswith("filt")
        ]
        np.testing.assert_allclose(norms, golden[f"final_norm_f64/{name}"], rtol=1e-7, atol=1e-9, err_msg=name)


def compare_images(golden: Golden, method: Pix2PixHD) -> None:
    """The generated images of the last step, and what the trained generator makes of one more."""
    fake = method.last_step.images["fake_B"]
    np.testing.assert_allclose(fake[..., ::4, ::4], golden["last_fake_stride4_f64"], rtol=1e-7, atol=1e-9)
    with torch.no_grad():
        after = method.generator.double()(golden.image(golden.meta["shape_a"], 2 * golden.meta["steps"]).double())
    np.testing.assert_allclose(after[..., ::4, ::4], golden["after_fake_stride4_f64"], rtol=1e-7, atol=1e-9)


# Slow: steps in float64 on images of 128 pixels, for which the figures were computed.
@pytest.mark.parametrize("family", ["pix2pix_traj", "cyclegan_traj"])
def test_twenty_steps(family: str, shared: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    for path in files(family, shared):
        with subtests.test(path.stem):
            golden = load(path)
            method, networks = pix2pix(golden) if family == "pix2pix_traj" else cyclegan(golden)
            record = run(golden, method, networks, tmp_path)
            compare(golden, record, networks, PIX2PIX_TERMS if family == "pix2pix_traj" else CYCLEGAN_TERMS)


def test_twenty_steps_of_pix2pixhd(shared: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    for path in files("hd_traj", shared):
        with subtests.test(path.stem):
            golden = load(path)
            method, networks = pix2pixhd(golden)
            record = run(golden, method, networks, tmp_path)
            compare(golden, record, networks, PIX2PIXHD_TERMS)
            compare_images(golden, method)
            assert ("g_feat" in record.losses[0]) == (method.generator_terms.need_features(0))


class AsReference:
    """The operators of the reference where it trains on one image.

    PyTorch's instance norm has a wrong gradient on the CPU for a single image, if the gradient that comes to it lies in
    memory with the channels last. The reference samples patches such that it does; with two images it does not matter.
    """

    @staticmethod
    def sample(self: PatchSample, features: Sequence[Tensor], n: int, ids: Sequence[Tensor]) -> tuple[Any, Any]:
        vectors = [
            self.project(i, feature.permute(0, 2, 3, 1).flatten(1, 2)[:, own.long()])
            for i, (feature, own) in enumerate(zip(features, ids, strict=True))
        ]
        return [vector / (vector.norm(dim=2, keepdim=True) + 1e-7) for vector in vectors], ids


def test_instance_norm_has_its_gradient_in_any_layout() -> None:
    """Unlike PyTorch's own, see `AsReference`."""
    torch.manual_seed(0)
    image, gradient = torch.randn(2, 1, 4, 6, 6, dtype=torch.float64)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = image.clone().requires_grad_(True)
        InstanceNorm2d(4)(leaf).backward(gradient.contiguous(memory_format=layout))
        found.append(leaf.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("apart", [False, True])
def test_twenty_steps_of_cut(
    apart: bool, shared: Path, tmp_path: Path, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With translation and identity image in one pass, as for small batches, and apart, as for large ones.

    Batches of one image are compared apart, since the reference encodes each by itself, under its operators.
    """
    if apart:
        monkeypatch.setattr("patchlight.methods.passes.MERGED_PIXELS", 0)
    loaded = [load(path) for path in files("cut_traj", shared)]
    for golden in [golden for golden in loaded if apart or golden.meta["shape_a"][0] > 1]:
        with subtests.test(golden.name), monkeypatch.context() as patch:
            if golden.meta["shape_a"][0] == 1:
                patch.setattr(InstanceNorm2d, "forward", nn.InstanceNorm2d.forward)
                patch.setattr(PatchSample, "forward", AsReference.sample)
            method, networks = cut(golden)
            record = run(golden, method, networks, tmp_path)
            weights = {"G_GAN": golden.options["lambda_GAN"]} | dict.fromkeys(
                ("NCE", "NCE_Y"), golden.options["lambda_NCE"]
            )
            compare(
                golden, record, networks, {name: (ours, weights.get(name, 1.0)) for name, ours in CUT_TERMS.items()}
            )
            last = method.last_step.images["fake_B"][..., ::4, ::4]
            np.testing.assert_allclose(last.numpy(), golden["last_fake_B_stride4_f64"], rtol=1e-7, atol=1e-9)
            image = golden.image(golden.meta["shape_a"], 2 * golden.meta["steps"]).double()
            with torch.no_grad():
                after = networks["G"](image)[..., ::4, ::4]
            np.testing.assert_allclose(after.numpy(), golden["after_fake_B_stride4_f64"], rtol=1e-7, atol=1e-9)
