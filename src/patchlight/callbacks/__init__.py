"""What happens beside the step: metrics, sample pictures, progress, and the record in a checkpoint."""

from patchlight.callbacks.progress import Progress
from patchlight.callbacks.quality import Quality
from patchlight.callbacks.record import RunRecord
from patchlight.callbacks.samples import Samples

__all__ = ["Progress", "Quality", "RunRecord", "Samples"]
