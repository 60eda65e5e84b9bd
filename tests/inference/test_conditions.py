"""A generator that reads noise, a class and a mask beside its image: translated, in tiles, by ONNX, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchlight.data.content import Colours
from patchlight.errors import ConfigError
from patchlight.exporting.graph import ImageGraph, open_graph, write_graph
from patchlight.exporting.parity import compare
from patchlight.inference.onnx import speed_up
from patchlight.inference.translator import Translator
from patchlight.methods import NetworkSpec, Pix2Pix
from patchlight.methods.inference import condition_values, draw_noise, image_seed
from patchlight.methods.networks import GeneratorCall
from patchlight.networks import Condition, Generator, PatchDiscriminator


class Conditional(Generator):
    size_multiple = 8
    conditions = {
        "z": Condition((4,), noise=True), "class_id": Condition(classes=3), "mask": Condition((1,), spatial=True)
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, padding=1)
        self.of_class, self.of_noise = nn.Embedding(3, 8), nn.Linear(4, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor, z: Tensor, class_id: Tensor) -> Tensor:
        shift = self.of_class(class_id) + self.of_noise(z)
        features = torch.relu(self.first(torch.cat([image, mask], 1)) + shift[:, :, None, None])
        return self.last(features).tanh()


class WithConditions(Pix2Pix):
    """Its images are the input with the generator's change, half as strong."""

    networks = {
        "generator": NetworkSpec("generator", reads=("A", "mask", "z", "class_id"), writes="B"),
        "discriminator": NetworkSpec("discriminator", reads=("A", "B")),
    }

    @classmethod
    def generate(cls, name: str, generator: nn.Module, inputs: Any) -> Tensor:
        return inputs["A"] + 0.5 * super().generate(name, generator, inputs)


@pytest.fixture
def call() -> GeneratorCall:
    torch.manual_seed(0)
    return GeneratorCall(WithConditions, "generator", Conditional()).eval().requires_grad_(False)


def translator(call: GeneratorCall, **settings: Any) -> Translator:
    own: dict[str, Any] = {"tile": None, **settings}
    return Translator(
        call, reads=Colours(3), writes=Colours(3), direction="AtoB", inference_mode="eval", device=torch.device("cpu"),
        bf16=False, **own,
    )  # fmt: skip


def images(n: int, height: int = 24, width: int = 24, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1


def test_a_batch_is_its_images_and_training_makes_the_same(call: GeneratorCall) -> None:
    batch, masks, classes = images(3), images(3, channels=1), torch.tensor([0, 2, 1])
    seeds = [image_seed(f"folder/{i}.png") for i in range(3)]
    own = translator(call)
    together = own.translate(batch, {"mask": masks, "class_id": classes}, seeds)
    for i in range(3):
        given = {"mask": masks[i : i + 1], "class_id": int(classes[i])}
        torch.testing.assert_close(own.translate(batch[i : i + 1], given, seeds[i : i + 1])[0], together[i])
    method = WithConditions(call.generator, PatchDiscriminator(6, 2, 1))
    names = [f"{i}.png" for i in range(3)]
    found = method.translate({"A": batch, "B": batch, "mask": masks, "class_id": classes, "A_path": names}, 5)
    torch.testing.assert_close(together, found["fake_B"])
    z = draw_noise(Condition((4,), noise=True), seeds, (1, 1))
    assert torch.equal(call(batch, masks, z, classes), together)
    assert not torch.equal(together, own.translate(batch, {"mask": masks, "class_id": 0}, seeds))


def test_arrays_padding_and_tiles(call: GeneratorCall) -> None:
    own = translator(call, conditions={"class_id": 1})
    image, mask = images(1, 400, 420), images(1, 400, 420, channels=1)
    whole = own(image, mask=mask)
    own.tile = 384
    assert own.in_tiles(400, 420)
    torch.testing.assert_close(own(image, mask=mask), whole, atol=1e-5, rtol=0)
    levels = ((image[0].permute(1, 2, 0) + 1) * 127.5).byte().numpy()
    in_tiles = own(levels, mask=mask[0])
    own.tile = None
    assert in_tiles.shape == (400, 420, 3)
    assert abs(in_tiles.astype(int) - own(levels, mask=mask[0]).astype(int)).max() <= 1
    odd = own(images(1, 21, 19), mask=images(1, 21, 19, channels=1))
    assert odd.shape == (1, 3, 21, 19)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "condition.class_id is not set, which this generator reads: give it, one of whole numbers from 0 to 2"),
        ({"class_id": 3}, "condition.class_id=3 should be one of whole numbers from 0 to 2"),
        ({"class_id": 0.5}, "condition.class_id=0.5 should be"),
        ({"class_id": "dog"}, "condition.class_id='dog' should be"),
        ({"class_id": 1, "z": [1.0]}, r"condition.z=\[1.0\] should be numbers of shape 4"),
        ({"class_id": 1, "z": [1.0, 2.0, 3.0, float("nan")]}, "should be numbers of shape 4"),
        ({"class_id": 1, "style": 2}, "condition.style is nothing that this generator reads: its conditions are z, cl"),
    ],
)
def test_values_that_do_not_fit(given: dict[str, Any], message: str) -> None:
    conditions = {"z": Condition((4,), noise=True), "class_id": Condition(classes=3)}
    with pytest.raises(ConfigError, match=message):
        condition_values(conditions, given, [0], (8, 8))


def test_noise_in_training_is_the_ranks_own(call: GeneratorCall) -> None:
    method = WithConditions(call.generator, PatchDiscriminator(6, 2, 1))
    batch = {"A": images(2)}
    torch.manual_seed(3)
    drawn = method.with_conditions(batch)["z"]
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.randn(2, 4))
    assert method.with_conditions({**batch, "z": drawn})["z"] is drawn


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_exported_with_the_same_inputs(kind: Any, call: GeneratorCall, tmp_path: Path) -> None:
    graph = ImageGraph(call, "unit", "eval")
    write_graph(graph, kind, tmp_path / f"model.{kind}", {"in_channels": "3"}, opset=18)
    compute, _ = open_graph(kind, tmp_path / f"model.{kind}")
    assert all(agreement.difference < 1e-5 for agreement in compare(compute, graph, 3))


def test_onnx_runtime_translates_it(call: GeneratorCall) -> None:
    own = translator(call)
    given = {"mask": images(1, channels=1), "class_id": 2}
    expected = own(images(1), **given)
    speed_up(own, "onnx")
    torch.testing.assert_close(own(images(1), **given), expected, atol=1e-5, rtol=0)
