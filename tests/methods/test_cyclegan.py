"""Translation and identity of one generator: one pass where that makes no difference, and two elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from patchlight.methods import CycleGAN
from patchlight.methods import passes as shared_passes
from patchlight.methods.passes import is_batch_independent
from patchlight.networks import PatchDiscriminator, ResNetGenerator, init_weights

Sizes = tuple[tuple[int, int], tuple[int, int]]
"""The number of images and their sides in pixels, of domain A and of domain B."""


class Terms(Callback):
    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.steps.append({name: value.clone() for name, value in trainer.callback_metrics.items()})


def train(
    folder: Path, sizes: list[Sizes], generator: dict[str, Any], **settings: Any
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor], list[int]]:
    """One batch of each size: the terms of every step, the weights after it, and the images in each pass of G_ab."""
    torch.manual_seed(0)
    g_ab, g_ba = (ResNetGenerator(3, 3, n_blocks=1, ngf=4, **generator) for _ in range(2))
    d_a, d_b = (PatchDiscriminator(3, ndf=4, n_layers=1, norm="instance") for _ in range(2))
    method = CycleGAN(g_ab, g_ba, d_a, d_b, **settings)
    init_weights(method, gain=0.1)
    noise = torch.Generator().manual_seed(1)
    batches = [
        {
            domain: torch.rand(n, 3, side, side, generator=noise, dtype=torch.float64) * 2 - 1
            for domain, (n, side) in zip("AB", domains, strict=True)
        }
        for domains in sizes
    ]
    passes: list[int] = []
    method.generator_ab.register_forward_hook(lambda module, args, output: passes.append(len(args[0])))
    terms = Terms()
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", precision="64-true", callbacks=[terms], logger=False, default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, train_dataloaders=DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return terms.steps, {name: value.clone() for name, value in method.state_dict().items()}, passes


@pytest.mark.parametrize(
    ("sizes", "settings", "passes"),
    [
        pytest.param([((1, 16), (1, 16))] * 3, {}, [2, 1] * 3, id="one image each"),
        pytest.param([((2, 16), (1, 16))] * 3, {}, [3, 1] * 3, id="numbers of images differ"),
        # The first batch alone has images that fit together; its step is one with the second's.
        pytest.param(
            [((1, 16), (1, 16)), ((1, 16), (1, 20))], {"accumulate": 2, "clip_g": 0.5}, [2, 1, 1, 1, 1],
            id="sides differ in some batches",
        ),
        pytest.param([((1, 16), (1, 16))] * 3, {"discriminator_start": 2}, [2, 1] * 3, id="before the discriminators"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("norm", ["instance", "none"])
def test_one_pass_trains_as_two_do(
    norm: str, sizes: list[Sizes], settings: dict[str, Any], passes: list[int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    terms, weights, merged = train(tmp_path, sizes, {"norm": norm}, **settings)
    assert merged == passes
    monkeypatch.setattr(shared_passes, "MERGED_PIXELS", 0)
    apart_terms, apart_weights, apart = train(tmp_path, sizes, {"norm": norm}, **settings)
    assert len(apart) == 3 * len(sizes)
    for step, expected in zip(terms, apart_terms, strict=True):
        assert step.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(step[name], value, rtol=1e-9, atol=1e-12, msg=name)
    for name, value in apart_weights.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("generator", "sizes"),
    [
        ({"norm": "batch"}, ((1, 16), (1, 16))),
        ({"dropout": True}, ((1, 16), (1, 16))),
        ({}, ((4, 128), (1, 128))),
        ({}, ((1, 16), (1, 20))),
    ],
)
def test_separate_passes(generator: dict[str, Any], sizes: Sizes, tmp_path: Path) -> None:
    """Where images or passes depend on each other, for many pixels, and for images of other sizes."""
    # The way to B, back to A, and the identity term.
    expected = [sizes[0][0], sizes[1][0], sizes[1][0]]
    assert train(tmp_path, [sizes], generator)[2] == expected


def test_no_pass_for_an_identity_of_no_weight(tmp_path: Path) -> None:
    terms, _, passes = train(tmp_path, [((2, 16), (2, 16))], {}, lambda_identity=0.0)
    assert passes == [2, 2]
    assert terms[0]["train/identity_a"] == 0 == terms[0]["train/identity_b"]


def test_running_statistics_depend_on_the_passes() -> None:
    assert is_batch_independent(nn.InstanceNorm2d(4))
    assert not is_batch_independent(nn.InstanceNorm2d(4, track_running_stats=True))
