"""What a process of `forked` has done before it begins: imports, and the reading of the configuration's files."""

from __future__ import annotations

import matplotlib.figure
import torch.utils.data
import torchmetrics.image

import patchlight.cli.train
import patchlight.runs.run
import patchlight.runs.worker
from patchlight.config.compose import compose_config
from patchlight.config.validation import validate

IMPORTED = (matplotlib.figure, torch, torchmetrics.image, patchlight.cli.train, patchlight.runs.run)

for _model, _data in (("pix2pix", "paired"), ("cyclegan", "unpaired")):
    validate(compose_config("train", (f"model={_model}", f"data={_data}", "data.root=.", "logger=csv")))
