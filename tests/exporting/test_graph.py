"""What is inside an exported graph beside the generator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import patchlight
from patchlight.data.images import to_levels
from patchlight.exporting.graph import ImageGraph
from patchlight.methods import TranslationMethod

Make = Callable[..., TranslationMethod]


@pytest.mark.parametrize("mode", ["paper", "eval"])
def test_a_graph_computes_what_the_translator_does(make: Make, mode: str) -> None:
    """In `paper` mode, too: for each image of a batch by itself, where it has no dropout."""
    make("pix2pix", "model.generator.dropout=false")
    translator = patchlight.load("model.ckpt", device="cpu", inference_mode=mode)  # type: ignore[arg-type]
    graph = ImageGraph(translator.generator, "normalised", translator.inference_mode)
    images = graph.random_image((3, 3, 64, 96), seed=1)
    assert torch.allclose(graph(images), translator(images), atol=1e-5)
    other = ImageGraph(translator.generator, "normalised", "eval" if mode == "paper" else "paper")
    assert not torch.allclose(other(images), translator(images), atol=1e-2)


def test_value_ranges(make: Make) -> None:
    make("cyclegan")
    translator = patchlight.load("model.ckpt", device="cpu")
    levels = ImageGraph(translator.generator, "bytes", "eval").random_image((2, 3, 32, 40), seed=1)
    assert levels.dtype == torch.uint8
    assert levels.float().std() > 30
    expected = translator((levels.float() / 255 - 0.5) / 0.5)
    from_bytes = ImageGraph(translator.generator, "bytes", "eval")(levels)
    assert torch.equal(from_bytes, to_levels(expected))
    from_unit = ImageGraph(translator.generator, "unit", "eval")(levels.float() / 255)
    assert torch.allclose(from_unit, (expected + 1) / 2, atol=1e-6)


def test_the_generator_is_left_as_it_was(make: Make) -> None:
    make("pix2pix")
    generator = patchlight.load("model.ckpt", device="cpu").generator
    before = {name: type(module) for name, module in generator.named_modules()}
    ImageGraph(generator, "bytes", "paper")
    assert {name: type(module) for name, module in generator.named_modules()} == before
