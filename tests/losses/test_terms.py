"""The terms of a generator's loss: values against formulas that are written out here, and gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchvision.models.vgg import cfgs, make_layers

from patchlight.data.images import read_image, to_array, to_float, to_planes
from patchlight.losses import (
    FeatureMatchingLoss,
    FeatureMatchingTerm,
    LPIPSTerm,
    MSSSIMTerm,
    PerceptualTerm,
    SSIMTerm,
    StepImages,
    TotalVariationTerm,
)
from patchlight.losses.feature_terms import MIN_SIZES

QUIET = pytest.mark.filterwarnings("ignore:.*weights.*:UserWarning")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def near(image: Tensor, seed: int = 9) -> Tensor:
    return (image + 0.3 * noise(*image.shape, seed=seed)).clamp(-1, 1)


def step(fake: Tensor, real: Tensor, **more: Any) -> StepImages:
    return StepImages(**{"source": real, "fake": fake, "real": real} | more)


def directional(compute: Any, image: Tensor, small: float) -> tuple[float, float]:
    """The derivative of a scalar along a direction by its gradient, and by central differences of that size."""
    direction = noise(*image.shape, seed=77)
    point = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(compute(point), point)
    with torch.no_grad():
        slope = (compute(image + small * direction) - compute(image - small * direction)) / (2 * small)
    return (gradient * direction).sum().item(), slope.item()


def test_total_variation() -> None:
    image = torch.tensor([[[[0.0, 1.0, 1.0], [0.5, 0.5, -1.0]]]], dtype=torch.float64).requires_grad_()
    value = TotalVariationTerm()(step(image, image))
    assert value.item() == pytest.approx((0.5 + 0.5 + 2) / 3 + (1 + 0 + 0 + 1.5) / 4)
    fake = noise(2, 3, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: TotalVariationTerm()(step(x, x)), (fake,))


def ssim(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Of one channel in [0, 1], mean over all places (Wang et al. 2004, equation 13)."""

    def local(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return gaussian_filter(x, 1.5, mode="mirror", truncate=5 / 1.5)

    ma, mb = local(a), local(b)
    va, vb, covariance = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return float(((2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def test_ssim() -> None:
    real = noise(2, 3, 20, 17)
    fake = near(real)
    pairs = zip(((fake + 1) / 2).flatten(0, 1).numpy(), ((real + 1) / 2).flatten(0, 1).numpy(), strict=True)
    expected = 1 - np.mean([ssim(a, b) for a, b in pairs])
    assert SSIMTerm()(step(fake, real)).item() == pytest.approx(expected, rel=1e-9)
    assert SSIMTerm()(step(real, real)).item() == pytest.approx(0, abs=1e-12)
    small = fake[:1, :1, :7, :6].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: SSIMTerm()(step(x, real[:1, :1, :7, :6])), (small,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = SSIMTerm()(step(fake.float(), real.float()))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_ms_ssim() -> None:
    real = noise(2, 1, 177, 180)
    fake = near(real)
    expected = multiscale_structural_similarity_index_measure((fake + 1) / 2, (real + 1) / 2, data_range=1.0)
    assert isinstance(expected, Tensor)
    # The exponents of torchmetrics are in float32.
    assert MSSSIMTerm()(step(fake, real)).item() == pytest.approx(1 - expected.item(), rel=1e-7)
    by_gradient, by_difference = directional(lambda x: MSSSIMTerm()(step(x, real)), fake, 1e-6)
    assert by_gradient == pytest.approx(by_difference, rel=1e-5)
    # Of opposed images a factor is below 0, of which a power would be no number, as its gradient at 0.
    opposed = (-real).requires_grad_()
    value = MSSSIMTerm()(step(opposed, real))
    assert 0.9 < value.item() <= 1
    value.backward()
    assert opposed.grad is not None
    assert opposed.grad.isfinite().all()


def test_images_that_are_compared() -> None:
    source, target, back, fake = (noise(1, 3, 8, 8, seed=i) for i in range(4))
    images = StepImages(source=source, fake=fake, real=target, reconstruction=back)
    for against, pair in (("target", (fake, target)), ("source", (fake, source)), ("cycle", (back, source))):
        term = SSIMTerm(against=cast(Any, against))
        assert term(images) == SSIMTerm()(step(*pair))
        assert (term.needs_pairs, term.needs_cycle) == (against == "target", against == "cycle")
    with pytest.raises(ValueError, match="against must be one of target, source, cycle, got 'input'"):
        SSIMTerm(against=cast(Any, "input"))


def test_feature_matching() -> None:
    features = [tuple(tuple(noise(1, 2, n, n, seed=s + n) for n in (4, 3, 2)) for _ in range(2)) for s in (0, 50)]
    images = step(noise(1, 3, 8, 8), noise(1, 3, 8, 8), fake_features=features[0], real_features=features[1])
    assert FeatureMatchingTerm()(images) == FeatureMatchingLoss()(*features)
    # Maps have weights where there are several discriminators: of two maps each alone would count twice as much.
    alone = [FeatureMatchingLoss()([fake], [real]) / 2 for fake, real in zip(*features, strict=True)]
    weighted = FeatureMatchingTerm()(replace(images, map_weights=(0.5, 3.0)))
    torch.testing.assert_close(weighted, 0.5 * alone[0] + 3.0 * alone[1])
    fake = noise(1, 2, 3, 3)
    with pytest.raises(ValueError, match="there is none"):
        FeatureMatchingTerm()(replace(images, fake_features=((fake,),), real_features=((fake,),)))


def alexnet_features() -> nn.Sequential:
    from torchvision.models import AlexNet_Weights, alexnet

    return cast(nn.Sequential, alexnet(weights=AlexNet_Weights.IMAGENET1K_V1).features.double())


def relus(features: nn.Sequential, image: Tensor, positions: tuple[int, ...]) -> list[Tensor]:
    """What comes out of some layers, of which the ReLUs would write over their input."""
    found = []
    for position, layer in enumerate(features[: positions[-1] + 1]):
        image = F.relu(image) if isinstance(layer, nn.ReLU) else layer(image)
        if position in positions:
            found.append(image)
    return found


def normalised(image: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(v).double().view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return ((image + 1) / 2 - mean) / deviation


@pytest.mark.usefixtures("alexnet")
def test_perceptual_with_alexnet() -> None:
    real = noise(1, 3, 40, 48)
    fake, features = near(real), alexnet_features()
    maps = [relus(features, normalised(image), (1, 4, 7, 9, 11)) for image in (fake, real)]
    expected = sum((a - b).abs().mean().item() for a, b in zip(*maps, strict=True))
    term = PerceptualTerm(network="alexnet").double()
    assert term(step(fake, real)).item() == pytest.approx(expected, rel=1e-6)  # the constants are float32
    assert term(step(real, real)).item() == 0
    by_gradient, by_difference = directional(
        lambda x: term(step(x, real)), fake, 1e-8
    )  # few values have a kink so near
    assert by_gradient == pytest.approx(by_difference, rel=1e-4)
    gray = noise(1, 1, 40, 48)
    assert term(step(gray, gray.flip(3))) == term(step(*(x.expand(-1, 3, -1, -1) for x in (gray, gray.flip(3)))))
    assert not term.state_dict().keys() - {name for name, _ in term.named_parameters()}


class UntrainedVGG(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = make_layers(cfgs["E"])


def test_perceptual_with_vgg19(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ReLUs of the five stages, 1/32 to 1; on weights that are drawn."""
    network = UntrainedVGG()
    monkeypatch.setattr("torchvision.models.vgg19", lambda weights: network)
    term = PerceptualTerm()
    real = noise(1, 3, 16, 32).float()
    fake = near(real).float()
    kinds = [type(layer).__name__ for layer in network.features]
    stages = [0, *(i + 1 for i, kind in enumerate(kinds) if kind == "MaxPool2d")][:5]
    maps = [relus(network.features, normalised(i).float(), tuple(s + 1 for s in stages)) for i in (fake, real)]
    weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)
    expected = sum(w * (a - b).abs().mean().item() for w, a, b in zip(weights, *maps, strict=True))
    assert term(step(fake, real)).item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0
    with pytest.raises(RuntimeError, match="too small"):
        term(step(fake[..., :15], real[..., :15]))


@pytest.mark.usefixtures("alexnet")
@QUIET
def test_lpips(shared: Any) -> None:
    term = LPIPSTerm()
    assert all(module.training for module in term.modules())
    folder = shared / "data" / "lpips_reference"
    images = {p.stem: to_float(to_planes(to_array(read_image(p))))[None] for p in folder.glob("*.png")}
    for name, expected in (("ex_p0", 0.7219), ("ex_p1", 0.1376)):
        assert term(step(images[name], images["ex_ref"])).item() == pytest.approx(expected, abs=1e-4)
    real = noise(2, 3, 31, 40)
    fake, features = near(real), alexnet_features()
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]).double(), torch.tensor([0.458, 0.448, 0.450]).double()
    maps = [
        relus(features, (image - shift.view(3, 1, 1)) / scale.view(3, 1, 1), (1, 4, 7, 9, 11)) for image in (fake, real)
    ]
    total = torch.zeros(2, dtype=torch.float64)
    for k, (a, b) in enumerate(zip(*maps, strict=True)):
        unit = [x / (1e-8 + x.square().sum(1, keepdim=True)).sqrt() for x in (a, b)]
        weight = term.network.get_parameter(f"lin{k}.model.1.weight").double()
        total += ((unit[0] - unit[1]).square() * weight).sum(1).mean((1, 2))
    term = term.double()
    assert term(step(fake, real)).item() == pytest.approx(total.mean().item(), rel=1e-6)
    by_gradient, by_difference = directional(
        lambda x: term(step(x, real)), fake, 1e-8
    )  # few values have a kink so near
    assert by_gradient == pytest.approx(by_difference, rel=1e-4)
    assert MIN_SIZES["alexnet"] == 31
    with pytest.raises(RuntimeError, match="too small"):
        term(step(fake[:, :, :30], real[:, :, :30]))


def test_sizes_and_channels_that_do_not_suit() -> None:
    term = MSSSIMTerm()
    term.require_images(176, 200, channels=(1, 3))
    with pytest.raises(ValueError, match="needs images of at least 176 px a side, got 175 x 200 px"):
        term.require_images(175, 200, channels=(3, 3))
    with pytest.raises(ValueError, match="an image of 3 channels with its source, which has 1"):
        SSIMTerm(against="source").require_images(64, 64, channels=(1, 3))
    for size, works in ((176, True), (175, False)):
        images = [noise(1, 1, size, 200, seed=i) for i in (0, 1)]
        try:
            multiscale_structural_similarity_index_measure(*images, data_range=2.0)
        except ValueError:
            assert not works
        else:
            assert works


def test_networks_that_are_not_known() -> None:
    with pytest.raises(ValueError, match="network must be vgg19 or alexnet, got 'vgg'"):
        PerceptualTerm(network=cast(Any, "vgg"))
    with pytest.raises(ValueError, match="network must be one of alexnet, vgg16, got 'squeeze'"):
        LPIPSTerm(network=cast(Any, "squeeze"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PerceptualTerm(network="vgg19"),
            "network=vgg19 needs VGG19's .*get https://.*vgg19-dcbb9e9d.pth and put",
        ),
        (lambda: LPIPSTerm(network="vgg16"), "network=vgg16 needs VGG16's .*get https://.*vgg16-397923af.pth and put"),
    ],
)
@QUIET
def test_missing_weights_are_one_message(
    make: Any, message: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    # Networks of this size take seconds to be drawn.
    monkeypatch.setattr("torch.nn.init.kaiming_normal_", lambda *args, **kwargs: None)
    monkeypatch.setattr("torch.nn.init.normal_", lambda *args, **kwargs: None)
    with pytest.raises(ValueError, match=message):
        make()
