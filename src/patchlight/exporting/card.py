"""The card of a model folder: what a reader and a model hub need to know, as Markdown with YAML in front."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

LICENSES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigcode-openrail-m", "bigscience-openrail-m", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5",
    "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "creativeml-openrail-m", "ecl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "gfdl", "gpl", "gpl-2.0", "gpl-3.0",
    "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "openrail",
    "openrail++", "osl-3.0", "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
})  # fmt: skip
"""Identifiers of the hub's documentation; any other licence is `other` there, with a name of its own."""

PROTOCOL = ("split", "images", "image_size", "preprocess", "inference_mode", "batch_size", "weights", "precision")
"""What a figure rests on, in the order of the card."""


@dataclass(frozen=True)
class Measured:
    """The figures of the exported weights with their protocol; none with the reason where they are not known."""

    figures: Mapping[str, float] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Card:
    """The content of a card.

    `config` is what `config.json` records, `version` that of the Patchlight that trained it; `images` are the numbers
    of images by split and domain; `networks` are those in the file, with their parameters; `fields` are the receptive
    fields by discriminator; `samples` is the name of a picture in the folder, if there is one.
    """

    config: Mapping[str, Any]
    version: str
    directions: Sequence[str]
    inference_mode: str
    averaged: bool
    networks: Mapping[str, int]
    measured: Measured
    license: str | None
    images: Mapping[str, Mapping[str, int]]
    fields: Mapping[str, int]
    commit: str
    samples: str | None

    @property
    def method(self) -> str:
        return class_name(self.config["model"])

    @property
    def data(self) -> str:
        """The name of the image set: of its folder, or of the class of its source."""
        data = self.config["data"]
        return PurePath(str(data["root"])).name if data.get("root") else class_name(data.get("source") or data)

    @property
    def title(self) -> str:
        return f"{self.method} on {self.data}"

    def write(self, path: Path) -> None:
        """Write the card as `README.md`."""
        front = yaml.safe_dump(self.front_matter(), sort_keys=False, allow_unicode=True, width=1000)
        path.write_text(f"---\n{front}---\n\n{self.body()}", encoding="utf-8")

    def front_matter(self) -> dict[str, Any]:
        """The metadata that a hub reads: licence, library, task, tags, and the figures as a model index."""
        known = self.license.lower() if self.license is not None and self.license.lower() in LICENSES else None
        licence: dict[str, str] = {}
        if self.license is not None:
            licence = {"license": known} if known else {"license": "other", "license_name": slug(self.license)}
        front: dict[str, Any] = {
            **licence,
            "library_name": "patchlight",
            "pipeline_tag": "image-to-image",
            "tags": list(dict.fromkeys(["image-to-image", slug(self.method), "gan", "patchgan", slug(self.data)])),
        }
        finite = {name: value for name, value in self.measured.figures.items() if math.isfinite(value)}
        if finite:
            split = str(self.measured.protocol.get("split", "test"))
            front["model-index"] = [
                {
                    "name": self.title,
                    "results": [
                        {
                            "task": {"type": "image-to-image"},
                            "dataset": {"type": slug(self.data), "name": self.data, "split": split},
                            "metrics": [
                                {"type": name.rpartition("/")[2], "name": name, "value": value}
                                for name, value in finite.items()
                            ],
                        }
                    ],
                }
            ]
        return front

    def body(self) -> str:
        """The card's text."""
        parts = [f"# {_one_line(self.title)}\n", self._summary()]
        if self.samples is not None:
            parts.append(f"![samples]({self.samples})\n\nThe first validation images at the end of the training.\n")
        parts += [self._use(), self._data(), self._training(), self._figures(), self._limits()]
        return "\n".join(parts)

    def _summary(self) -> str:
        generator = class_name(self.config["model"]["generator"])
        return (
            f"Translates images {' and '.join(self.directions)}, where A and B are the domains as they lie in the "
            f"set: a {self.method} with the generator {generator}, trained with Patchlight {self.version}.\n"
        )

    def _use(self) -> str:
        return (
            "## Use\n\n"
            "```python\n"
            "import patchlight  # pip install patchlight\n"
            "from PIL import Image\n\n"
            'translator = patchlight.load("FOLDER")  # the folder of this file, downloaded\n'
            'translator(Image.open("input.png")).save("output.png")\n'
            "```\n\n"
            "Or `patchlight-translate ckpt=FOLDER input=DIR output=DIR`. `model.safetensors` holds the weights of "
            f"{', '.join(f'`{name}` ({count:,} parameters)' for name, count in self.networks.items())}, "
            f"{'moving averages where the training kept them' if self.averaged else 'as trained'}; `config.json` the "
            "configuration, which is read as data.\n"
        )

    def _data(self) -> str:
        data = self.config["data"]
        rows = [("set", self.data), ("direction", data.get("direction")), ("image size", data.get("image_size"))]
        rows += [("load size", data.get("load_size")), ("preprocess", data.get("preprocess"))]
        rows += [(f"images of {split}", _counts(counts)) for split, counts in self.images.items()]
        return f"## Data\n\n{_table(rows)}"

    def _training(self) -> str:
        model, data = self.config["model"], self.config["data"]
        schedule = model.get("schedule") or {}
        optimizer = model.get("optimizer") or {}
        epochs = [schedule[key] for key in ("n_epochs", "n_epochs_decay") if isinstance(schedule.get(key), int)]
        rows: list[tuple[str, Any]] = [
            ("method", self.method),
            ("discriminator", class_name(model.get("discriminator"))),
            *((f"receptive field of {name}", f"{pixels} px") for name, pixels in self.fields.items()),
            ("adversarial objective", model.get("gan_mode")),
            ("optimizer", f"{class_name(optimizer)}, learning rate {optimizer.get('lr')}"),
            ("schedule", " + ".join(map(str, epochs)) + " epochs" if epochs else class_name(schedule)),
            ("batch size", data.get("batch_size")),
            ("seed", self.config.get("seed")),
            ("commit of the code", self.commit),
        ]
        return f"## Training\n\n{_table(rows)}"

    def _figures(self) -> str:
        measured = self.measured
        if not measured.figures:
            return f"## Figures\n\nNone: {measured.missing}.\n"
        figures = _table([(name, f"{value:.4g}") for name, value in measured.figures.items()], ("metric", "value"))
        protocol = [(key, measured.protocol[key]) for key in PROTOCOL if measured.protocol.get(key) is not None]
        described = measured.protocol.get("metrics") or {}
        protocol += [(name, described[name]) for name in described if _has(measured.figures, name)]
        return f"## Figures\n\n{figures}\nOf one training. Measured in this way:\n\n{_table(protocol)}"

    def _limits(self) -> str:
        licence = f"`{_one_line(self.license)}`, of the weights." if self.license is not None else "Not stated."
        return (
            "## Limits\n\n"
            "The model knows images like those it was trained on, and translates anything else into something that "
            "looks like them: an output is no evidence of what was there. What the training images lack, it invents. "
            f"It was tested with `inference_mode={self.inference_mode}`.\n\n"
            f"## Licence\n\n{licence}\n"
        )


def class_name(node: Any) -> str:
    """The last part of the class that a part of a configuration names."""
    return str(node.get("_target_") or "unknown").rpartition(".")[2] if isinstance(node, Mapping) else "none"


def slug(text: str) -> str:
    """A text in small letters, digits, dots and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "unnamed"


def _has(figures: Mapping[str, float], metric: str) -> bool:
    return any(name.rpartition("/")[2] == metric for name in figures)


def _counts(counts: Mapping[str, int]) -> str:
    numbers = set(counts.values())
    return str(numbers.pop()) if len(numbers) == 1 else ", ".join(f"{n} of {domain}" for domain, n in counts.items())


def _table(rows: Sequence[tuple[str, Any]], header: tuple[str, str] = ("", "")) -> str:
    lines = [header, ("---", "---"), *((name, _cell(value)) for name, value in rows if value not in (None, ""))]
    return "".join(f"| {name} | {value} |\n" for name, value in lines)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())
