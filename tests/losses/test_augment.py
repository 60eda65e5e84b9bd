"""DiffAugment and ADA: each against a plain computation per image, their gradients, and ADA's probability."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from patchlight.losses import ADA, DiffAugment
from patchlight.losses.ada_transforms import Draws, blit, colour, geometry, luma
from patchlight.losses.resampling import SYM6, transform


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def always(n: int = 64) -> Draws:
    torch.manual_seed(0)
    return Draws(n, torch.tensor(1.0), torch.zeros((), dtype=torch.float64))


def seeded(augment: Any, images: Tensor, condition_channels: int = 0, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    result: Tensor = augment(images, condition_channels)
    return result


def test_the_filter_is_the_wavelet_of_six_vanishing_moments() -> None:
    """Orthogonal to its own shifts by two, which makes up and down the identity, and flat to the fifth power."""
    h = np.array(SYM6)
    assert h.sum() == pytest.approx(math.sqrt(2))
    for shift in range(6):
        assert (h[2 * shift :] * h[: len(h) - 2 * shift]).sum() == pytest.approx(float(shift == 0), abs=1e-11)
    signs, places = (-1.0) ** np.arange(12), np.arange(12) - 5.5
    for power in range(6):
        assert (signs * places**power * h).sum() == pytest.approx(0, abs=1e-7)


def transformed(image: np.ndarray[Any, Any], inverse: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One channel, by the definition: every sum and every place by itself."""
    h, (height, width) = np.array(SYM6), image.shape

    def mirrored(i: int, n: int) -> int:
        i %= 2 * n
        return i if i < n else 2 * n - 1 - i

    def up(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        n = len(values)
        sums = [
            sum(h[j + 5 - 2 * m] * values[mirrored(m, n)] for m in range(-4, n + 4) if 0 <= j + 5 - 2 * m < 12)
            for j in range(2 * n)
        ]
        return math.sqrt(2) * np.array(sums)

    fine = np.apply_along_axis(up, 1, np.apply_along_axis(up, 0, image))

    def at(u: float, v: float) -> float:
        """A bilinear sample; whole numbers are the centres of values."""
        x, y = math.floor(u), math.floor(v)
        return sum(
            (1 - abs(u - i)) * (1 - abs(v - j)) * fine[mirrored(j, 2 * height), mirrored(i, 2 * width)]
            for i in (x, x + 1)
            for j in (y, y + 1)
        )

    moved = np.zeros((2 * height + 10, 2 * width + 10))
    for j in range(moved.shape[0]):
        for i in range(moved.shape[1]):
            place = np.array([(i - 5 + 0.5) / 2 - width / 2, (j - 5 + 0.5) / 2 - height / 2, 1.0])
            x, y, _ = inverse @ place
            moved[j, i] = at(2 * (x + width / 2) - 0.5, 2 * (y + height / 2) - 0.5)

    def down(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.array([(h * values[2 * i : 2 * i + 12]).sum() for i in range((len(values) - 10) // 2)])

    return np.apply_along_axis(down, 1, np.apply_along_axis(down, 0, moved)) / 2


def test_affine_maps_by_their_definition() -> None:
    images = noise(3, 2, 6, 9)
    inverse = geometry(always(3), 6, 9)
    found = transform(images, inverse)
    for image, matrix, result in zip(images, inverse, found, strict=True):
        for channel, expected in zip(image, result, strict=True):
            np.testing.assert_allclose(expected, transformed(channel.numpy(), matrix.numpy()), rtol=1e-9, atol=1e-9)


def test_whole_pixels_are_moved_without_loss() -> None:
    """Far from the edges, where the filter meets mirrored pixels; and nothing at all changes without a move."""
    images = noise(2, 3, 40, 32)
    shift = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    assert torch.equal(transform(images, shift), images)
    shift[0, 0, 2], shift[0, 1, 2] = -3, 4
    found = transform(images, shift)
    torch.testing.assert_close(found[0, :, 8:28, 12:24], images[0, :, 12:32, 9:21], rtol=0, atol=1e-10)
    assert torch.equal(found[1], images[1])


def test_places_come_from_where_the_transforms_took_them() -> None:
    """Applied one after the other to a point, as the names say; `inverse` leads back."""
    height, width, n = 20, 30, 64
    x, y = noise(2, n) * 10
    draws = always()
    mirrored, turns, shift = 1 - 2 * draws.integer(2), draws.integer(4), draws.uniform(0.125, (2,))
    points = mirrored * x + 1j * y
    points = points * torch.exp(-1j * turns * math.pi / 2)
    points = points + (shift[0] * width).round() + 1j * (shift[1] * height).round()
    back = blit(always(), height, width) @ torch.stack([points.real, points.imag, torch.ones(n)], 1)[..., None]
    torch.testing.assert_close(back[:, :2, 0], torch.stack([x, y], 1))
    assert set(turns.tolist()) == {0, 1, 2, 3}

    draws = always()
    scale, before = 2 ** draws.normal(0.2), draws.uniform(math.pi)
    stretch, after, move = 2 ** draws.normal(0.2), draws.uniform(math.pi), draws.normal(0.125, (2,))
    points = scale * (x + 1j * y) * torch.exp(-1j * before)
    points = (stretch * points.real + 1j * points.imag / stretch) * torch.exp(-1j * after)
    points = points + move[0] * width + 1j * move[1] * height
    back = geometry(always(), height, width) @ torch.stack([points.real, points.imag, torch.ones(n)], 1)[..., None]
    torch.testing.assert_close(back[:, :2, 0], torch.stack([x, y], 1))


def test_colours_by_one_operation_after_the_other() -> None:
    colours, draws = noise(64, 3), always()
    brightness, contrast = draws.normal(0.2), 2 ** draws.normal(0.5)
    flip, angle, saturation = draws.integer(2), draws.uniform(math.pi), 2 ** draws.normal(1.0)
    expected = []
    for i, given in enumerate(colours.numpy()):
        c = (given + brightness[i].item()) * contrast[i].item()
        if flip[i]:
            c = c - 2 * c.mean()
        c = Rotation.from_rotvec(angle[i].item() * np.ones(3) / math.sqrt(3)).apply(c)
        expected.append(c.mean() + (c - c.mean()) * saturation[i].item())
    matrix, offset = colour(always())
    np.testing.assert_allclose((matrix @ colours[..., None])[..., 0] + offset, expected, rtol=1e-9, atol=1e-12)

    factor, offset = luma(always())
    torch.testing.assert_close(factor, contrast)
    torch.testing.assert_close(offset, brightness * contrast)


def test_each_transform_has_the_probability() -> None:
    torch.manual_seed(0)
    n, p = 20_000, 0.3
    draws = Draws(n, torch.tensor(p), torch.zeros((), dtype=torch.float64))
    for values, share in ((draws.normal(1.0), p), (draws.uniform(1.0), p), (draws.integer(4), p * 3 / 4)):
        found = (values != 0).double().mean().item()
        assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))
    assert draws.normal(1.0).std().item() == pytest.approx(math.sqrt(p), rel=0.05)
    # Of both rotations together.
    turned = geometry(draws, 8, 8)
    rotated = (turned[:, 0, 1] != 0).double().mean().item()
    assert rotated == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


def test_without_a_probability_nothing_changes() -> None:
    for images in (noise(4, 6, 16, 16), noise(4, 6, 16, 16).float(), noise(4, 6, 16, 16).bfloat16()):
        assert torch.equal(ADA()(images, 3), images)


def at_work(**settings: Any) -> ADA:
    ada = ADA(**settings)
    ada.probability.fill_(0.9)
    return ada


def test_a_pair_is_moved_alike_and_recoloured_in_its_judged_image() -> None:
    images = noise(8, 3, 16, 16)
    pair = torch.cat([images, images], dim=1)
    for moved in (at_work(policy=["blit", "geometry"]), DiffAugment(["translation", "cutout"])):
        found = seeded(moved, pair, 3)
        assert torch.equal(found[:, :3], found[:, 3:])
        assert not torch.equal(found[:, :3], images)
        assert torch.equal(found, seeded(moved, pair))
    for recoloured in (at_work(policy=["colour"]), DiffAugment(["colour"])):
        found = seeded(recoloured, pair, 3)
        assert torch.equal(found[:, :3], images)
        assert not torch.isclose(found[:, 3:], images).flatten(1).all(1).any()
        torch.testing.assert_close(found[:, 3:], seeded(recoloured, images))


def test_each_image_has_a_draw_of_its_own_and_a_second_call_others() -> None:
    images = noise(1, 3, 16, 16).expand(6, -1, -1, -1)
    for augment in (at_work(), DiffAugment()):
        found = seeded(augment, images)
        assert len({tuple(image.flatten().tolist()) for image in (*found, *augment(images))}) == 12


def test_diffaugment_by_the_plain_definition() -> None:
    """With the same random numbers, one image after the other; odd sizes, and shifts of both signs."""
    images = noise(5, 4, 11, 14)
    found = seeded(DiffAugment(max_shift=0.2), images, 1)
    torch.manual_seed(0)
    brightness, saturation, contrast = (torch.rand(5, 1, 1, 1, dtype=torch.float64).flatten() for _ in range(3))
    shifts = [torch.randint(-most, most + 1, (5, 1)).flatten() for most in (2, 3)]
    centres = [torch.randint(0, bound, (5, 1)).flatten() for bound in (12, 14)]  # holes of 6 x 7 pixels
    for k, image in enumerate(images):
        expected = np.zeros((4, 11, 14))
        x = image[1:].numpy() + (brightness[k].item() - 0.5)
        x = x.mean(0) + (x - x.mean(0)) * 2 * saturation[k].item()
        x = x.mean() + (x - x.mean()) * (contrast[k].item() + 0.5)
        coloured = np.concatenate([image[:1].numpy(), x])
        for i in range(11):
            for j in range(14):
                row, column = i - int(shifts[0][k]), j - int(shifts[1][k])
                top, left = int(centres[0][k]) - 3, int(centres[1][k]) - 3
                hole = top <= i < top + 6 and left <= j < left + 7
                if 0 <= row < 11 and 0 <= column < 14 and not hole:
                    expected[:, i, j] = coloured[:, row, column]
        np.testing.assert_allclose(found[k], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("augment", [at_work(), DiffAugment()], ids=["ada", "diffaugment"])
def test_gradients_of_first_and_second_order(augment: Any) -> None:
    images = noise(1, 4, 4, 3).requires_grad_()
    for seed in range(2):
        assert torch.autograd.gradcheck(lambda x, seed=seed: seeded(augment, x, 1, seed), (images,))
    assert torch.autograd.gradgradcheck(lambda x: seeded(augment, x, 1).square(), (images,))


@pytest.mark.parametrize("augment", [at_work(), DiffAugment()], ids=["ada", "diffaugment"])
def test_values_are_computed_in_full_precision(augment: Any) -> None:
    images = noise(4, 3, 16, 16).bfloat16()
    expected = seeded(augment, images.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = seeded(augment, images)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())
    torch.testing.assert_close(seeded(augment, images.double()).mean(), expected.double().mean(), rtol=1, atol=1)


def test_the_probability_follows_the_signs_of_real_logits() -> None:
    """Up by images / ramp_images where their mean is above the target, down where it is below, in every third step."""
    ada = ADA(target=0.5, interval=3, ramp_images=20, max_probability=0.5)
    generator = torch.Generator().manual_seed(0)
    signs, probability, seen = [], 0.0, []
    for step in range(24):
        shift = 2 if step < 12 else -2
        maps = [torch.randn(2, 1, n, n, generator=generator) + shift for n in (4, 2)]
        ada.observe(maps, [-m for m in maps])
        signs.append(np.mean([m.sign().mean().item() for m in maps]))
        if step % 3 == 2:
            certainty = np.mean(signs)
            probability = min(max(probability + np.sign(certainty - 0.5) * 3 * 2 / 20, 0), 0.5)
            signs = []
            assert ada.certainty.item() == pytest.approx(certainty, rel=1e-5)
        assert ada.probability.item() == pytest.approx(probability)
        seen.append(probability)
    assert max(seen) == 0.5
    assert seen[-1] == 0
    assert {name: float(value) for name, value in ada.figures().items()} == {
        "probability": 0.0, "certainty": pytest.approx(float(ada.certainty)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiffAugment([]), r"policy must be a list of some of colour, translation, cutout, got \[\]"),
        (lambda: DiffAugment(["color"]), r"got \['color'\]"),
        (lambda: DiffAugment(max_shift=1.5), "max_shift must be a share from 0 to 1, got 1.5"),
        (lambda: ADA(["blur"]), r"policy must be a list of some of blit, geometry, colour, got \['blur'\]"),
        (lambda: ADA(target=2), "target must be a mean of signs from -1 to 1, got 2"),
        (lambda: ADA(interval=0), "interval must be at least 1, got 0"),
        (lambda: ADA(max_probability=-1), "max_probability must be from 0 to 1, got -1"),
    ],
)
def test_settings_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
