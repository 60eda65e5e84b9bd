"""Generators and PatchGAN discriminators in plain PyTorch."""

from patchlight.networks.base import Condition, Discriminator, Generator, Network, recomputed, with_gradient
from patchlight.networks.ensemble import DiscriminatorEnsemble
from patchlight.networks.global_generator import GlobalGenerator, LocalEnhancer
from patchlight.networks.layers import ReflectionPad2d, init_weights
from patchlight.networks.maps import EmptyMapError, Maps, PatchGrid, as_maps, map_suffixes
from patchlight.networks.multiscale import MultiscaleDiscriminator
from patchlight.networks.norms import InstanceNorm2d, SyncBatchNorm
from patchlight.networks.patch_sampler import PatchSample, PatchSampleMLP, draw_patch_ids, feature_channels
from patchlight.networks.patchgan import PatchDiscriminator, PixelDiscriminator
from patchlight.networks.receptive_field import patch_grids, receptive_field, require_shapes
from patchlight.networks.resnet import QuarterResNetGenerator, ResNetGenerator
from patchlight.networks.unet import UNetGenerator
from patchlight.networks.winograd import WinogradConv2d

__all__ = [
    "Condition",
    "Discriminator",
    "DiscriminatorEnsemble",
    "EmptyMapError",
    "Generator",
    "GlobalGenerator",
    "InstanceNorm2d",
    "LocalEnhancer",
    "Maps",
    "MultiscaleDiscriminator",
    "Network",
    "PatchDiscriminator",
    "PatchGrid",
    "PatchSample",
    "PatchSampleMLP",
    "PixelDiscriminator",
    "QuarterResNetGenerator",
    "ReflectionPad2d",
    "ResNetGenerator",
    "SyncBatchNorm",
    "UNetGenerator",
    "WinogradConv2d",
    "as_maps",
    "draw_patch_ids",
    "feature_channels",
    "init_weights",
    "map_suffixes",
    "patch_grids",
    "receptive_field",
    "recomputed",
    "require_shapes",
    "with_gradient",
]
