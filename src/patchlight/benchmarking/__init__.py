"""How long steps, input, inference and start-up take, each beside a plain way of doing the same, in turns."""

from patchlight.benchmarking.cases import STEPS, StepCase
from patchlight.benchmarking.measure import Bench
from patchlight.benchmarking.results import Comparison, Results, exponent, write_bench

__all__ = ["STEPS", "Bench", "Comparison", "Results", "StepCase", "exponent", "write_bench"]
