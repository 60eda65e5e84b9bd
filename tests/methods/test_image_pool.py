from __future__ import annotations

import pytest
import torch

from patchlight.methods import ImagePool


def numbered(first: int, n: int = 1) -> torch.Tensor:
    return torch.arange(first, first + n).view(n, 1, 1, 1).expand(n, 3, 2, 2).float()


def test_size_zero_returns_what_came() -> None:
    images = numbered(0, 4).requires_grad_(True)
    returned = ImagePool(0).query(images)
    assert torch.equal(returned, images)
    assert not returned.requires_grad


def test_fills_then_swaps() -> None:
    pool = ImagePool(5, seed=1)
    assert torch.equal(pool.query(numbered(0, 5)), numbered(0, 5))
    assert len(pool) == 5
    returned = [int(pool.query(numbered(i))[0, 0, 0, 0]) for i in range(5, 2005)]
    old = [r for i, r in enumerate(returned, start=5) if r != i]
    assert 0.45 < len(old) / len(returned) < 0.55
    assert len(set(old)) == len(old), "an image is returned from the pool at most once"
    assert len(pool) == 5


def test_holds_copies() -> None:
    pool = ImagePool(1)
    image = numbered(7)[:, :, :1, :1].clone()
    pool.query(image)
    image.zero_()
    pool._random.seed(2)  # the next draw is above 1/2
    assert pool._random.uniform(0, 1) > 0.5
    pool._random.seed(2)
    assert float(pool.query(image)[0, 0, 0, 0]) == 7


def test_seeds_differ_and_state_restores() -> None:
    def draw(pool: ImagePool) -> list[int]:
        return [int(pool.query(numbered(i))[0, 0, 0, 0]) for i in range(100)]

    assert draw(ImagePool(10, seed=1)) == draw(ImagePool(10, seed=1)) != draw(ImagePool(10, seed=2))
    pool, copy = ImagePool(10, seed=1), ImagePool(10, seed=9)
    draw(pool)
    copy.load_state_dict(pool.state_dict())
    assert draw(copy) == draw(pool)


@pytest.mark.parametrize("size", [-1, True])
def test_refuses_bad_sizes(size: int) -> None:
    with pytest.raises(ValueError, match=f"pool_size must be an integer of at least 0, got {size}"):
        ImagePool(size)


def test_ages_are_counted_in_images_asked_about() -> None:
    pool = ImagePool(2, seed=0)
    assert pool.mean_age == 0
    for value in range(200):
        pool.query(torch.full((1, 1, 1, 1), float(value)))
    born = [int(image.item()) + 1 for image in pool._images]
    assert pool.mean_age == 200 - sum(born) / 2
    again = ImagePool(2, seed=1)
    again.load_state_dict(pool.state_dict())
    assert again.mean_age == pool.mean_age
