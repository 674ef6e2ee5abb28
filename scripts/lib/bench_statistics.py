"""Ratios of what was measured together, and means over programs."""
import math
import statistics


def paired_ratio(values, base):
    """Median of the ratios within rounds."""
    return statistics.median(value / other for value, other in zip(values, base))


def spread(values, base):
    """Median distance of the ratios from their median, relative to it."""
    ratios = [value / other for value, other in zip(values, base)]
    middle = statistics.median(ratios)
    return statistics.median(abs(ratio - middle) for ratio in ratios) / middle


def geometric_mean(ratios):
    ratios = list(ratios)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def quantile(values, part):
    """The smallest value that is not below this part of them."""
    ordered = sorted(values)
    return ordered[min(math.ceil(part * len(ordered)), len(ordered)) - 1]
