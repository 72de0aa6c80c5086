"""Tables and panels of a figure of what `robustness.measure` returned."""

from aib_keras.experiments import markdown
from aib_keras.experiments.tables import grouped
from aib_keras.explain.corruptions import STRENGTHS
from aib_keras.metrics.intervals import wilson_interval

_SPREADS = (
    "In brackets: the 95 % Wilson interval of one model, over the images. ±: the standard "
    "deviation over seeds."
)


def corruptions(found):
    """Returns the lines of a table of errors on corrupted images.

    Args:
        found: List of the first values that `robustness.measure` returned. Those of one label are
            runs that differ in their seeds.
    """
    lines = []
    for (label,), group in grouped(found, "label"):
        clean = _cell(group, [each["clean"] for each in group])
        for kind in STRENGTHS:
            wrong = zip(*(each["wrong"][kind] for each in group), strict=True)
            cells = [_cell(group, counts) for counts in wrong]
            lines.append([f"`{label}`", kind.replace("_", " "), clean, *cells])
    return [
        f"Error of the deterministic prediction in % on {_images(found)}, clean and at five "
        f"strengths of corruption. {_SPREADS}",
        "",
        *markdown.table(["model", "corruption", "clean", "1", "2", "3", "4", "5"], lines),
    ]


def attacks(found):
    """Returns the lines of a table of errors under attacks.

    Args:
        found: List of all second values that `robustness.measure` returned, in one list.
    """
    lines = []
    for (label, samples), group in grouped(found, "label", "samples"):
        clean = _cell(group, [each["clean"] for each in group])
        for attack in group[0]["wrong"]:
            wrong = zip(*(each["wrong"][attack] for each in group), strict=True)
            cells = [_cell(group, counts) for counts in wrong]
            lines.append([f"`{label}`", _path(samples), attack, clean, *cells])
    epsilons = [f"{epsilon:g}/255" for epsilon in found[0]["epsilons"]]
    return [
        f"Error in % on {_images(found)} under white-box attacks in L-infinity. Through the mean: "
        "gradient and error are those of the deterministic prediction. Through samples: those of "
        "`predict_mc`, with the gradients of its predictions averaged. An image counts as wrong if "
        "it is wrong unchanged, or after the attack with this epsilon or a smaller one. "
        f"{_SPREADS}",
        "",
        *markdown.table(["model", "through", "attack", "none", *epsilons], lines),
    ]


def panels(corrupted, attacked):
    """Returns panels for `plots.error_curves_figure`, from what the tables are made of."""
    found = []
    for kind in STRENGTHS if corrupted else ():
        lines = {}
        for each in corrupted:
            _add(lines, each["label"], range(6), [each["clean"], *each["wrong"][kind]], each)
        found.append({"xlabel": f"strength of {kind.replace('_', ' ')}", "lines": lines})
    for attack in attacked[0]["wrong"] if attacked else ():
        lines = {}
        for each in attacked:
            samples = each["samples"]
            label = f"{each['label']}, through samples" if samples else each["label"]
            wrong = [each["clean"], *each["wrong"][attack]]
            _add(lines, label, [0, *each["epsilons"]], wrong, each)
        found.append({"xlabel": f"255 epsilon of {attack}", "lines": lines})
    return found


def _add(lines, label, places, wrong, each):
    line = lines.setdefault(label, {})
    for place, count in zip(places, wrong, strict=True):
        line.setdefault(f"{place:g}", []).append(count / each["images"])


def _path(samples):
    return f"{samples} samples" if samples else "mean"


def _images(found):
    counts = dict.fromkeys((each["images"], each["evaluated_on"]) for each in found)
    return " or ".join(f"{count:,} images of {what}" for count, what in counts)


def _cell(group, wrong):
    """Returns the text of the errors of one or several runs, from counts."""
    if len(group) > 1:
        shares = [count / each["images"] for count, each in zip(wrong, group, strict=True)]
        return markdown.mean_percent(shares)
    [count], [each] = wrong, group
    ends = wilson_interval(count, each["images"], "A table of errors")
    low, high = (markdown.percent(end, 1) for end in ends)
    return f"{markdown.percent(count / each['images'], 1)} ({low}–{high})"
