"""How good translated images are: against their targets, and as a set against the set of real images."""

from patchlight.metrics.distances import FeatureDistances
from patchlight.metrics.features import FeatureNetwork, feature_network
from patchlight.metrics.paired import PairedMetrics

__all__ = ["FeatureDistances", "FeatureNetwork", "PairedMetrics", "feature_network"]
