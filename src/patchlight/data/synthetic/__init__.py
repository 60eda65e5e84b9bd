"""The built-in image set: procedural facades, rendered at first use."""

from patchlight.data.synthetic.layout import LEGEND
from patchlight.data.synthetic.write import SyntheticSet, render_pair, render_scene

__all__ = ["LEGEND", "SyntheticSet", "render_pair", "render_scene"]
