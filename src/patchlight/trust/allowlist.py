"""The classes and functions that a stored configuration may name, by the place that they take in it.

Names are compared as texts, whole and exactly: nothing is looked up to decide. They are those under which the package's
own configuration writes them; each stands for one class, so that no other name leads to what a module has imported.
Transforms that read files or take functions (`Lambda`, `FDA`, `HistogramMatching`, `TextImage` ...) are not among them,
nor schedulers and callbacks that take functions, nor metrics that read or download weights. Terms of a generator's loss
are made in a training alone, whose configuration is the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Names = frozenset[str]


def _of(module: str, names: str) -> Names:
    return frozenset(f"{module}.{name}" for name in names.split())


METHODS = _of("patchlight.methods", "Pix2Pix CycleGAN Pix2PixHD CUT")
GENERATORS = _of(
    "patchlight.networks", "UNetGenerator ResNetGenerator QuarterResNetGenerator GlobalGenerator LocalEnhancer"
)
DISCRIMINATORS = _of(
    "patchlight.networks",
    "PatchDiscriminator PixelDiscriminator MultiscaleDiscriminator DiscriminatorEnsemble",
)
SAMPLERS = _of("patchlight.networks", "PatchSample PatchSampleMLP")
OBJECTIVES = _of("patchlight.losses", "GANLoss RelativisticLoss")
GENERATOR_TERMS = _of(
    "patchlight.losses",
    "FeatureMatchingTerm LPIPSTerm MSSSIMTerm PerceptualTerm SSIMTerm TotalVariationTerm",
)
DISCRIMINATOR_AUGMENTS = _of("patchlight.losses", "ADA DiffAugment")
PENALTIES = _of("patchlight.losses", "R1 R2 GradientPenalty")
OPTIMIZERS = _of(
    "torch.optim",
    "Adafactor Adadelta Adagrad Adam AdamW Adamax ASGD LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam",
)
SCHEDULES = _of("patchlight.methods.schedules", "linear step cosine constant Plateau") | _of(
    "torch.optim.lr_scheduler",
    "StepLR MultiStepLR ConstantLR LinearLR ExponentialLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR "
    "OneCycleLR PolynomialLR ReduceLROnPlateau",
)
DATA = _of("patchlight.data", "ImageDataModule")
SOURCES = _of("patchlight.data.sources", "Archive Folders Manifest Shards SinglePair Table")
RENDERED = _of("patchlight.data", "SyntheticSet")
AUGMENTS = _of("patchlight.data", "Augment")
TRANSFORMS = _of(
    "albumentations",
    "OneOf SomeOf Sequential RandomOrder "
    "AdvancedBlur Blur Defocus GaussianBlur GlassBlur MedianBlur MotionBlur ZoomBlur "
    "Affine CropAndPad D4 ElasticTransform GridDistortion GridElasticDeform HorizontalFlip Morphological "
    "OpticalDistortion Perspective PiecewiseAffine RandomGridShuffle RandomResizedCrop RandomRotate90 "
    "RandomSizedCrop Rotate SafeRotate ShiftScaleRotate SquareSymmetry ThinPlateSpline Transpose VerticalFlip "
    "ChannelDropout CoarseDropout Erasing GridDropout PixelDropout XYMasking "
    "AdditiveNoise AutoContrast CLAHE ChannelShuffle ChromaticAberration ColorJitter Downscale Emboss Equalize "
    "FancyPCA GaussNoise HEStain HueSaturationValue ISONoise Illumination ImageCompression InvertImg "
    "MultiplicativeNoise PlanckianJitter PlasmaBrightnessContrast PlasmaShadow Posterize RGBShift "
    "RandomBrightnessContrast RandomFog RandomGamma RandomGravel RandomRain RandomShadow RandomSnow RandomSunFlare "
    "RandomToneCurve RingingOvershoot SaltAndPepper Sharpen ShotNoise Solarize Spatter Superpixels ToGray ToSepia "
    "UnsharpMask",
)
TRAINERS = _of("lightning.pytorch", "Trainer")
PERFORMANCE = _of("patchlight.parallel", "Performance")
CALLBACKS = _of(
    "patchlight.callbacks",
    "BestCheckpoint EMA Health LastCheckpoint PatchMaps Progress Quality Samples TrainingClock",
) | _of(
    "lightning.pytorch.callbacks",
    "DeviceStatsMonitor EarlyStopping LearningRateMonitor ModelSummary RichModelSummary RichProgressBar "
    "TQDMProgressBar ThroughputMonitor Timer",
)
METRICS = _of(
    "torchmetrics.image",
    "ErrorRelativeGlobalDimensionlessSynthesis MultiScaleStructuralSimilarityIndexMeasure PeakSignalNoiseRatio "
    "PeakSignalNoiseRatioWithBlockedEffect RelativeAverageSpectralError RootMeanSquaredErrorUsingSlidingWindow "
    "SpatialCorrelationCoefficient SpectralAngleMapper SpectralDistortionIndex StructuralSimilarityIndexMeasure "
    "TotalVariation UniversalImageQualityIndex VisualInformationFidelity",
) | _of("torchmetrics.regression", "MeanAbsoluteError MeanSquaredError MeanAbsolutePercentageError")
LOGGERS = _of("patchlight.loggers", "MetricsCSV TensorBoardRun WandbRun") | _of(
    "lightning.pytorch.loggers", "CSVLogger TensorBoardLogger WandbLogger"
)

RENAMED: Mapping[str, str] = {"patchlight.perf.Performance": "patchlight.parallel.Performance"}
"""Names that earlier versions wrote, and today's names of the same classes."""


@dataclass(frozen=True)
class Place:
    """A place in a configuration: what may stand there, and the places below it.

    `parts` are the places of some keys, `every` that of all other keys and `items` that of a list's entries; where
    there is none nothing may be named. `partial` says whether the arguments may be kept for a later call.
    """

    targets: Names = frozenset()
    parts: Mapping[str, str] = field(default_factory=dict)
    every: str = "plain"
    items: str = "plain"
    partial: bool = False

    def below(self, key: str) -> Place:
        """The place of a key."""
        return PLACES[self.parts.get(key, self.every)]


PLACES: Mapping[str, Place] = {
    "plain": Place(),
    "top": Place(
        parts={name: name for name in ("model", "data", "trainer", "perf", "callbacks", "logger")},
    ),
    "model": Place(
        METHODS,
        parts={
            "generator": "generator", "discriminator": "discriminator", "sampler": "sampler", "optimizer": "optimizer",
            "optimizer_d": "optimizer", "optimizers": "optimizers", "schedule": "schedule", "penalties": "penalties",
            "adversarial": "adversarial", "generator_terms": "generator terms",
            "discriminator_augment": "discriminator augment",
        },
    ),
    "generator": Place(GENERATORS),
    "discriminator": Place(DISCRIMINATORS, parts={"discriminators": "discriminators"}),
    "discriminators": Place(every="discriminator"),
    "sampler": Place(SAMPLERS),
    "optimizer": Place(OPTIMIZERS, partial=True),
    "optimizers": Place(every="optimizer"),
    "schedule": Place(SCHEDULES, partial=True),
    "adversarial": Place(OBJECTIVES),
    "penalties": Place(every="penalty"),
    "generator terms": Place(every="generator term"),
    "generator term": Place(GENERATOR_TERMS),
    "discriminator augment": Place(DISCRIMINATOR_AUGMENTS),
    "penalty": Place(PENALTIES),
    "data": Place(DATA, parts={"augment": "augment", "render": "render", "source": "source"}),
    "source": Place(SOURCES),
    "render": Place(RENDERED),
    "augment": Place(AUGMENTS, parts=dict.fromkeys(("geometry", "colour_a", "colour_b"), "transforms")),
    "transforms": Place(items="transform"),
    "transform": Place(TRANSFORMS, parts={"transforms": "transforms"}),
    "trainer": Place(TRAINERS),
    "perf": Place(PERFORMANCE),
    "callbacks": Place(every="callback"),
    "callback": Place(CALLBACKS, parts={"metrics": "metrics"}),
    "metrics": Place(every="metric"),
    "metric": Place(METRICS),
    "logger": Place(every="a logger"),
    "a logger": Place(LOGGERS),
}  # fmt: skip

LIMITS: Mapping[str, Mapping[str, int]] = {
    "model": {
        "ngf": 1024, "ndf": 1024, "n_blocks": 256, "num_downs": 16, "n_layers": 16, "pool_size": 100_000,
        "n_downsampling": 16, "n_local_enhancers": 4, "n_blocks_local": 256, "num_scales": 8,
        "nc": 4096, "num_patches": 65_536,
    },
    "data": {
        "channels_a": 1024, "channels_b": 1024, "n_classes": 256, "image_size": 4096, "load_size": 4096,
        "batch_size": 4096, "eval_batch_size": 4096, "num_workers": 256, "cache": 4096, "n_train": 10_000,
        "n_test": 10_000, "size": 1024, "repeat": 1_000_000,
    },
    "callbacks": {
        "kernel_subsets": 10_000, "kernel_subset_size": 100_000, "kernel_size": 1024, "window_size": 1024,
        "block_size": 1024, "sigma": 100,
    },
}  # fmt: skip
"""By section and key: the largest number that is taken from a file, far above any in use. What is larger would only
fill memory or start processes."""
