"""The contrastive terms of a step: the generator's passes, its features, and vectors of patches at random positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from patchlight.losses import PatchNCELoss
from patchlight.methods.base import TranslationMethod
from patchlight.methods.optimization import Terms
from patchlight.methods.passes import is_batch_independent, merges_passes
from patchlight.methods.state import Batch
from patchlight.networks import Generator

DOMAIN = {"nce": "A", "nce_identity": "B"}
"""Of which domain the images of a term are."""


@dataclass(frozen=True)
class Contrast:
    """The images of a contrastive term: its name, what was translated, and what the generator made of it.

    `keys` are vectors of the source, B P C for each layer, with their positions, where the pass that made `target`
    has given them.
    """

    name: str
    source: Tensor
    target: Tensor
    keys: tuple[list[Tensor], list[Tensor]] | None = None


class ContrastiveStep:
    """The passes of `generator` in one step, of all its accumulated batches, and the contrastive terms of its images.

    The images are `mirrored` or not for all, and patches lie at the same positions, which `draw_patch_ids` gives for
    numbers of positions when the step first asks for those of a term. Unless `keep`, the features of a translation are
    computed again for its backward pass. Without `layers` there are no terms.

    Source: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", equations 3 and 4.
    """

    def __init__(
        self,
        method: TranslationMethod,
        sampler: nn.Module,
        loss: PatchNCELoss,
        *,
        layers: Sequence[int],
        num_patches: int,
        draw_patch_ids: Callable[[Sequence[int]], list[Tensor]],
        mirrored: bool,
        keep: bool,
    ) -> None:
        (self.generator,) = method.generators
        self.method = method
        self.sampler = sampler
        self.loss = loss
        self.layers = layers
        self.num_patches = num_patches
        self.draw_patch_ids = draw_patch_ids
        self.mirrored = mirrored
        self.keep = keep
        self.independent = is_batch_independent(self.generator)
        self._ids: dict[tuple[str, ...], list[Tensor]] = {}

    def shares_pass(self, batch: Batch) -> bool:
        """Whether A and B go through the generator together, as batch norm has to see them."""
        real_A, real_B = batch["A"], batch["B"]
        if real_A.shape[1:] != real_B.shape[1:]:
            return False
        return not self.independent or merges_passes(self.generator, real_A, real_B)

    def translate(self, batch: Batch, names: Sequence[str]) -> list[Contrast]:
        """Images of a batch, by the terms that they are for, through the generator in one pass."""
        sources = [batch[DOMAIN[name]] for name in names]
        images = torch.cat(sources) if len(sources) > 1 else sources[0]
        further = {key: torch.cat([batch[key]] * len(sources)) for key in self.method.networks["generator"].further}
        inputs = {**batch, **further, "A": images.flip(-1) if self.mirrored else images}
        sizes = [len(source) for source in sources]
        if not (self.keep and self.independent and torch.is_grad_enabled() and self.layers) or self.mirrored:
            made = self.method.fake("generator", inputs, keep=self.keep)
            return [Contrast(*parts) for parts in zip(names, sources, torch.split(made, sizes), strict=True)]
        encoding = _Encoding(self.generator, self.layers)
        made = self.method.fake("generator", inputs, through=encoding)
        features = _split(encoding.features, sizes)
        keys = [self._keys(name, own) for name, own in zip(names, features, strict=True)]
        return [Contrast(*parts) for parts in zip(names, sources, torch.split(made, sizes), keys, strict=True)]

    def source(self, contrast: Contrast) -> Tensor:
        """What the generator was given of a term's images."""
        return contrast.source.flip(-1) if self.mirrored else contrast.source

    def terms(self, contrasts: Sequence[Contrast]) -> Terms:
        """The mean contrastive loss over the layers for each term, by its name."""
        terms: Terms = {}
        # Batch norm sees the images of each term by themselves, as in the reference code.
        for group in [contrasts] if self.independent else [[contrast] for contrast in contrasts]:
            terms |= self._contrast(group)
        return terms

    def _contrast(self, group: Sequence[Contrast]) -> Terms:
        """The terms of images that are encoded in one pass."""
        queries = self._encode([contrast.target for contrast in group])
        sources: list[list[Tensor]] = [[]] * len(group)
        if any(contrast.keys is None for contrast in group):
            with torch.no_grad():
                sources = self._encode([contrast.source for contrast in group])
        terms: Terms = {}
        for contrast, query_features, source in zip(group, queries, sources, strict=True):
            keys, ids = contrast.keys or self._keys(contrast.name, source)
            if self.mirrored:
                ids = [_mirror(i, f.shape[3]) for i, f in zip(ids, query_features, strict=True)]
            vectors, _ = self.sampler(query_features, self.num_patches, ids)
            losses = [self.loss(query, key) for query, key in zip(vectors, keys, strict=True)]
            terms[contrast.name] = torch.stack(losses).mean()
        return terms

    def _encode(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """The features of each of several batches of images, in one pass."""
        together = torch.cat(list(images)) if len(images) > 1 else images[0]
        features = self.generator.encode(together, self.layers)
        return _split(features, [len(each) for each in images])

    @torch.no_grad()
    def _keys(self, name: str, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The vectors of a source at the positions of a term, drawn when the step first asks for them."""
        sizes = [feature.shape[2:].numel() for feature in features]
        place = (name, *map(str, sizes))
        if place not in self._ids:
            self._ids[place] = self.draw_patch_ids(sizes)
        vectors, ids = self.sampler(features, self.num_patches, self._ids[place])
        return vectors, ids


class _Encoding(nn.Module):
    """A generator that keeps its features, detached, when it is called."""

    def __init__(self, generator: Generator, layers: Sequence[int]) -> None:
        super().__init__()
        self.generator = generator
        self.layers = layers
        self.features: list[Tensor] = []

    def forward(self, *inputs: Tensor) -> Tensor:
        image, features = self.generator.translate_and_encode(self.layers, *inputs)
        self.features = [feature.detach() for feature in features]
        return image


def _split(features: Sequence[Tensor], sizes: list[int]) -> list[list[Tensor]]:
    """Features of several batches that went through together, by batch."""
    return [list(own) for own in zip(*(torch.split(feature, sizes) for feature in features), strict=True)]


def _mirror(ids: Tensor, width: int) -> Tensor:
    """The positions in a map at which its mirror image has what is at `ids`."""
    return ids + width - 1 - 2 * (ids % width)
