from __future__ import annotations

import pytest
import torch

from patchlight.inference.tiles import cut, margins, pad


@pytest.mark.parametrize(
    ("height", "width", "multiple", "expected"),
    [
        (256, 512, 256, (0, 0, 0, 0)),
        (255, 250, 4, (1, 1, 0, 1)),
        (1, 4, 4, (6, 6, 7, 8)),  # at least 16 pixels
        (300, 256, 256, (0, 0, 106, 106)),
    ],
)
def test_margins(height: int, width: int, multiple: int, expected: tuple[int, int, int, int]) -> None:
    assert margins(height, width, multiple) == expected


def test_a_size_that_fits_is_left_alone() -> None:
    image = torch.rand(2, 3, 32, 64)
    by = margins(32, 64, 32)
    assert pad(image, by) is image
    assert torch.equal(cut(image, by), image)


def test_padding_mirrors_and_is_cut_back() -> None:
    image = torch.arange(5.0).expand(1, 1, 3, 5)
    assert pad(image, (2, 1, 0, 0))[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 4, 3]
    assert torch.equal(cut(pad(image, (2, 1, 1, 2)), (2, 1, 1, 2)), image)


def test_where_there_is_too_little_to_mirror_the_edge_is_repeated() -> None:
    image = torch.arange(2.0).expand(1, 1, 3, 2)
    assert pad(image, (3, 2, 0, 0))[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert torch.equal(cut(pad(image, (3, 2, 7, 8)), (3, 2, 7, 8)), image)
