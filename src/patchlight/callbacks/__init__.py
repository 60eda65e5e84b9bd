"""What happens beside the step: metrics, sample pictures, averages, checkpoints, progress."""

from patchlight.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from patchlight.callbacks.clock import TrainingClock
from patchlight.callbacks.ema import EMA
from patchlight.callbacks.health import Health
from patchlight.callbacks.images import PatchMaps, Samples
from patchlight.callbacks.progress import Progress
from patchlight.callbacks.quality import Quality
from patchlight.callbacks.state import LoopState, RunRecord

__all__ = [
    "EMA",
    "BestCheckpoint",
    "Health",
    "LastCheckpoint",
    "LoopState",
    "PatchMaps",
    "Progress",
    "Quality",
    "RunRecord",
    "Samples",
    "TrainingClock",
]
