from __future__ import annotations

import numpy as np

from patchlight.data.loading import EpochSampler, SampleKey, sample_rng


def draws(*place: int) -> list[float]:
    return sample_rng(*place).random(3).tolist()  # type: ignore[arg-type]


def test_randomness_is_a_function_of_seed_epoch_and_index() -> None:
    assert draws(1, 2, 3) == draws(1, 2, 3)
    assert len({tuple(draws(*p)) for p in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0), (3, 2, 1))}) == 5
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    draws(1, 2, 3)
    assert np.array_equal(np.random.get_state()[1], state)  # type: ignore[index]


def sampler(**settings: object) -> EpochSampler:
    return EpochSampler(**{"length": 10, "seed": 0, "shuffle": True, **settings})  # type: ignore[arg-type]


def test_every_epoch_has_every_item_in_its_own_order() -> None:
    orders = []
    for epoch in range(3):
        s = sampler()
        s.set_epoch(epoch)
        keys = list(s)
        assert {key.epoch for key in keys} == {epoch}
        assert sorted(key.item for key in keys) == list(range(10))
        assert keys == list(s)
        orders.append([key.item for key in keys])
    assert len({tuple(order) for order in orders}) == 3
    assert [key.item for key in sampler(seed=1)] != orders[0]
    assert list(sampler(shuffle=False)) == [SampleKey(0, i) for i in range(10)]


def test_ranks_share_an_epoch() -> None:
    whole = list(sampler())
    parts = [list(sampler(rank=r, world_size=3)) for r in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4] == [len(sampler(rank=r, world_size=3)) for r in range(3)]
    interleaved = [key for keys in zip(*parts, strict=True) for key in keys]
    assert interleaved[:10] == whole
    assert interleaved[10:] == whole[:2]


def test_without_padding_each_item_comes_once() -> None:
    parts = [list(sampler(rank=r, world_size=3, pad=False, shuffle=False)) for r in range(3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(key.item for part in parts for key in part) == list(range(10))
    assert [len(sampler(rank=r, world_size=3, pad=False)) for r in range(3)] == [4, 3, 3]


def test_the_order_does_not_share_its_stream_with_a_sample() -> None:
    first = sample_rng(0, 0, 0).permutation(1000).tolist()
    assert [key.item for key in sampler(length=1000)] != first
