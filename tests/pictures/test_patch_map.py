from __future__ import annotations

import numpy as np
import pytest
import torch

from patchlight.networks import PatchDiscriminator, PatchGrid
from patchlight.pictures import PatchView, Scale, overlay, patch_map_figure

BLUE, RED = (5, 48, 97), (103, 0, 31)
"""The ends of the colour map."""


def test_a_logit_colours_the_square_around_its_patchs_centre() -> None:
    image = torch.full((3, 128, 128), -1.0)
    logits = torch.zeros(6, 6)
    logits[2, 3] = 1.0
    grid = PatchGrid(field=70, stride=16, offset=24.0, size=(6, 6))
    picture = np.asarray(overlay(image, logits, grid, Scale(0.0, 1.0), opacity=1.0))
    blue = (picture == BLUE).all(axis=-1)
    rows, columns = blue.any(axis=1).nonzero()[0], blue.any(axis=0).nonzero()[0]
    # The centre of row 2 is at 24 + 2 * 16 = 56, and the square is 16 pixels wide.
    assert (rows[0], rows[-1]) == (48, 63)
    assert (columns[0], columns[-1]) == (64, 79)
    assert blue.sum() == 16 * 16


def test_rim_belongs_to_the_outermost_patches_and_small_images_are_enlarged() -> None:
    image = torch.full((1, 32, 64), 1.0)
    network = PatchDiscriminator(1, 4, 2, norm="none")
    logits = network(image[None])[0, 0].detach()
    logits[:] = 1.0
    logits[0] = -1.0
    picture = np.asarray(overlay(image, logits, network.patch_grids(32, 64)[0], Scale(0.0, 1.0), opacity=1.0))
    assert picture.shape == (64, 128, 3)
    # The first row's centre is at 6 px, its square ends at 8 px, and a pixel is shown two pixels wide.
    assert (picture[:16] == RED).all()
    assert (picture[16:] == BLUE).all()


def test_image_shows_through() -> None:
    image = torch.cat([torch.full((3, 128, 64), -1.0), torch.full((3, 128, 64), 1.0)], dim=2)
    picture = np.asarray(
        overlay(image, torch.zeros(1, 1), PatchGrid(128, 128, 64.0, (1, 1)), Scale(0.0, 1.0), opacity=0.5)
    )
    assert picture[:, :64].max() < 128 <= picture[:, 64:].min()


def test_scale_is_centred_on_the_boundary_and_bears_bad_values() -> None:
    scale = Scale.of([torch.tensor([0.5, 1.5]), torch.tensor([0.25])], boundary=0.5)
    assert scale.boundary == 0.5
    assert scale.reach == pytest.approx(1.0, abs=0.05)
    assert Scale.of([torch.tensor([1.0, 3.0])], boundary=None).boundary == 2.0
    assert Scale.of([torch.tensor([float("nan")])], boundary=None) == Scale(0.0, 1e-6)
    white = scale.colours(np.array([0.5, np.nan], dtype=np.float32))
    assert (white > 0.95).all()


@pytest.mark.parametrize("boundary", [0.0, 0.5, None])
def test_figure_has_every_part(boundary: float | None) -> None:
    network = PatchDiscriminator(3, 4, 1, norm="none")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    with torch.no_grad():
        maps = network(images)[:, 0]
    view = PatchView(images[0], images[1], maps[0], maps[1], *network.patch_grids(32, 32))
    one, two = (patch_map_figure([view] * n, boundary, (maps[0], maps[1]), "discriminator") for n in (1, 2))
    assert one.mode == "RGB"
    assert one.width == two.width == 960
    assert two.height - one.height == 230
    colours = {colour for _, colour in one.getcolors(10**6)}  # type: ignore[misc]
    assert len(colours) > 500


def test_figure_bears_a_discriminator_that_has_diverged() -> None:
    images = torch.zeros(3, 32, 32)
    logits = torch.full((14, 14), float("nan"))
    view = PatchView(images, images, logits, logits, PatchGrid(16, 2, 3.0, (14, 14)))
    picture = patch_map_figure([view], 0.0, (logits, logits), "discriminator")
    assert picture.width == 960
