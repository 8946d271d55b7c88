"""Which layer hurts? Replaces chosen layers of a trained classifier by whole-number ones and measures what it costs.

The framework of the Lund thesis (QPANN), for any network that torch.fx can trace.
"""

from course_utils.profiler.comparison import Outcome, Profile, difference, profile
from course_utils.profiler.configuration import (
    Configuration,
    ConfigurationError,
    configuration_text,
    read_configuration,
)
from course_utils.profiler.cost import Cost, costs
from course_utils.profiler.errors import ProfilerError
from course_utils.profiler.experiment import Experiment, ExperimentError, read_experiment, run, run_on, write_experiment
from course_utils.profiler.guesses import Batch, Guess, Totals
from course_utils.profiler.layers import IntegerAdd, IntegerAveragePool, IntegerLayer
from course_utils.profiler.options import KINDS, RANGES, Choice, Options
from course_utils.profiler.ratios import Ratio, RatioRecorder
from course_utils.profiler.recreation import Recreation, layers_of, recreate
from course_utils.profiler.search import Search, search, search_on

__all__ = [
    "KINDS",
    "RANGES",
    "Batch",
    "Choice",
    "Configuration",
    "ConfigurationError",
    "Cost",
    "Experiment",
    "ExperimentError",
    "Guess",
    "IntegerAdd",
    "IntegerAveragePool",
    "IntegerLayer",
    "Options",
    "Outcome",
    "Profile",
    "ProfilerError",
    "Ratio",
    "RatioRecorder",
    "Recreation",
    "Search",
    "Totals",
    "configuration_text",
    "costs",
    "difference",
    "layers_of",
    "profile",
    "read_configuration",
    "read_experiment",
    "recreate",
    "run",
    "run_on",
    "search",
    "search_on",
    "write_experiment",
]
