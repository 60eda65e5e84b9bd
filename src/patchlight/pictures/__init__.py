"""Pictures for people: sample sheets and what the discriminator sees."""

from patchlight.pictures.patch_map import PatchView, overlay, patch_map_figure
from patchlight.pictures.sheet import contact_sheet, to_picture

__all__ = ["PatchView", "contact_sheet", "overlay", "patch_map_figure", "to_picture"]
