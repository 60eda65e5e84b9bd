"""Compositions that the tests remember, see `tests/support/composition.py`, are those that Hydra makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import Container, OmegaConf

from composition import forget_compositions
from patchlight.config.compose import compose_config

COMMANDS = [
    [], ["seed=3", "+extra=1"], ["experiment=demo", "model.gan_mode=lsgan", "~callbacks.quality"],
    ["model=cyclegan", "+data/augment=colour", "data.augment.colour_a.0.p=0.4", "hydra.run.dir=run"],
    ["sweep=norm", "model/penalty=r1", "~model/schedule", "logger=csv", "seed=3"],
    ["debug=fast", "model/discriminator=patch34", "model.discriminator={ndf: 3}"],
]  # fmt: skip


def nodes(node: Any) -> Iterator[tuple[Any, ...]]:
    """What each node is, without the values that are resolved anew."""
    yield node._key(), type(node), node._metadata.flags, node._metadata.ref_type, node._metadata.optional
    if isinstance(node, Container) and not node._is_none() and not node._is_missing():
        for key in range(len(node)) if OmegaConf.is_list(node) else node:  # type: ignore[arg-type]
            yield from nodes(node._get_node(key))  # type: ignore[union-attr]


@pytest.mark.parametrize("overrides", COMMANDS)
def test_remembered_compositions_are_hydras(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = (compose_config("train", overrides, with_hydra=True) for _ in range(2))
    first.model.gan_mode = "hinge"  # which the next one does not see
    third = compose_config("train", overrides, with_hydra=True)
    forget_compositions(monkeypatch)
    expected = compose_config("train", overrides, with_hydra=True)
    for found in (again, third):
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
        assert list(nodes(found)) == list(nodes(expected))
