"""Generators and PatchGAN discriminators in plain PyTorch."""

from patchlight.networks.base import Discriminator, Generator, as_maps
from patchlight.networks.init import init_weights
from patchlight.networks.instance_norm import InstanceNorm2d
from patchlight.networks.padding import ReflectionPad2d
from patchlight.networks.patchgan import PatchDiscriminator, PixelDiscriminator
from patchlight.networks.receptive_field import PatchGrid, patch_grid, patch_map_size, receptive_field
from patchlight.networks.recompute import recomputed
from patchlight.networks.resnet import ResNetGenerator
from patchlight.networks.sync_batch_norm import SyncBatchNorm
from patchlight.networks.unet import UNetGenerator
from patchlight.networks.winograd import WinogradConv2d

__all__ = [
    "Discriminator",
    "Generator",
    "InstanceNorm2d",
    "PatchDiscriminator",
    "PatchGrid",
    "PixelDiscriminator",
    "ReflectionPad2d",
    "ResNetGenerator",
    "SyncBatchNorm",
    "UNetGenerator",
    "WinogradConv2d",
    "as_maps",
    "init_weights",
    "patch_grid",
    "patch_map_size",
    "receptive_field",
    "recomputed",
]
