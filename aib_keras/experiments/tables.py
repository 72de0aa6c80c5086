"""Tables of results from the work directories of runs, beside the paper's figures."""

import dataclasses
import pathlib
import statistics

from aib_keras.experiments import markdown
from aib_keras.experiments.cards import reductions
from aib_keras.experiments.results import deciding_settings, name_of, read_result
from aib_keras.utils.files import read_json

_RESULTS = "*/result.json"
_ERRORS = (
    "test_error_last_epoch",
    "test_error_last_epoch_sampled",
    "test_error_best_epoch",
    "test_error_shared_classes",
)
_MEASURED = (*_ERRORS, "expected_calibration_error")


@dataclasses.dataclass
class Cell:
    """The results of runs of one model on one data set that differ only in their seeds.

    Attributes:
        model, dataset: Names.
        paper: The paper's error in percent, or None.
        results: Contents of the `result.json` files, in the order of the seeds.
    """

    model: str
    dataset: str
    paper: float | None
    results: list

    @property
    def title(self):
        """MODEL, or MODEL/NAME for published weights."""
        return name_of(self.results[0]) if self.results else self.model

    def percent(self, name):
        """Returns mean and standard deviation of an error in percent, or None.

        The standard deviation of a single seed is None.
        """
        return self._spread(result.get(name) for result in self.results)

    def last_epoch(self, name):
        """Returns mean and standard deviation of a metric of the last epoch, or None."""
        return self._spread((r["last_epoch"].get(name) for r in self.results), factor=1)

    def _spread(self, values, factor=100):
        values = list(values)
        # A mean over some of the seeds would not be that of the row.
        if not values or None in values:
            return None
        values = [factor * value for value in values]
        return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None

    def summary(self):
        """Returns the cell for `table.json`: errors in percent, seeds, and what was reduced."""
        content = {"model": self.model, "dataset": self.dataset, "paper": self.paper}
        if not self.results:
            return content
        for name in _ERRORS:
            if (spread := self.percent(name)) is not None:
                content[f"{name}_mean"], content[f"{name}_std"] = (
                    None if value is None else round(value, 4) for value in spread
                )
        return {
            **content,
            "title": self.title,
            "seeds": [result["seed"] for result in self.results],
            "parameters": self.results[0]["parameters"],
            "seconds": [result["seconds"] for result in self.results],
            "last_epoch": [result["last_epoch"] for result in self.results],
            "full_size": not reductions(self.results[0]),
            "reductions": reductions(self.results[0]),
            "settings": self.results[0]["config"]["settings"],
        }


def grouped(found, *names):
    """Returns pairs of a tuple of the values of some keys and the list of what has them."""
    groups = {}
    for each in found:
        groups.setdefault(tuple(each[name] for name in names), []).append(each)
    return list(groups.items())


def read_trainings(folders):
    """Reads all `*/result.json` in some folders, and those of folders that are work directories.

    Each content gets its folder as `workdir`. A folder that is named twice counts once.
    """
    paths = [
        path
        for folder in (pathlib.Path(folder).expanduser() for folder in folders)
        for path in [*folder.glob("result.json"), *sorted(folder.glob(_RESULTS))]
    ]
    paths = {path.resolve(): path for path in reversed(paths)}.values()
    return [{**read_result(path.parent), "workdir": str(path.parent)} for path in [*paths][::-1]]


def read_results(runs):
    """Reads the runs of one folder, and their results on other data sets.

    A `transfer.json` beside a `result.json` maps data sets to results that were measured on them
    without training, and adds one result for each.
    """
    results = []
    for result in read_trainings([runs]):
        results.append(result)
        transfer = pathlib.Path(result["workdir"]) / "transfer.json"
        if transfer.exists():
            own = {name: value for name, value in result.items() if name not in _MEASURED}
            for dataset, found in read_json(transfer).items():
                results.append({**own, "last_epoch": {}, **found, "dataset": dataset})
    return results


def cell(results, model, dataset, paper=None):
    """Returns the `Cell` of the results of one model on one data set.

    Raises:
        ValueError: if these runs differ in more than their seeds, so that their mean would
            mean nothing, if two have the same seed, or if one of them was evaluated on held-out
            examples.
    """
    found = [r for r in results if (r["model"], r["dataset"]) == (model, dataset)]
    found.sort(key=lambda result: result["seed"])
    for result in found:
        if "test_error_last_epoch" not in result:
            raise ValueError(
                f"{result['workdir']} was evaluated on held-out examples, not on the test set: "
                "move it to another folder."
            )
        twice = [other for other in found if other["seed"] == result["seed"]][1:]
        if twice:
            raise ValueError(
                f"{result['workdir']} and {twice[0]['workdir']} are both runs of {model} on "
                f"{dataset} with seed {result['seed']}: move one of them to another folder."
            )
        first = found[0]
        if deciding_settings(result) != deciding_settings(first):
            raise ValueError(
                f"{first['workdir']} and {result['workdir']} are runs of {model} on {dataset} "
                "with different settings, whose mean would mean nothing: move one of them to "
                "another folder."
            )
    return Cell(model, dataset, paper, found)


def cells(results, model, dataset, paper=None):
    """Returns a `Cell` for each scale of the results of one model on one data set, at least one.

    The scale is what a training had less of than the paper's. The full size comes first. Published
    weights of each name have a cell of their own.

    Raises:
        ValueError: as `cell`.
    """
    found = {}
    for result in results:
        if (result["model"], result["dataset"]) == (model, dataset):
            key = (tuple(reductions(result)), result.get("published", ""))
            found.setdefault(key, []).append(result)
    groups = [found[key] for key in sorted(found)] or [[]]
    return [cell(group, model, dataset, paper) for group in groups]


def section(cells):
    """Returns a Markdown table of the cells of one data set, without columns that have no value."""
    rows = [{name: show(each) for name, show in _COLUMNS.items()} for each in cells]
    columns = [name for name in _COLUMNS if any(row[name] != markdown.MISSING for row in rows)]
    lines = markdown.table(columns, [[row[name] for name in columns] for row in rows])
    return "\n".join([f"## {cells[0].dataset}", "", *lines]) + "\n"


def _error(name):
    return lambda cell: _text(cell.percent(name), 2)


def _of_results(show):
    return lambda cell: show(cell.results) if cell.results else markdown.MISSING


def _minutes(results):
    return f"{statistics.mean(result['seconds'] for result in results) / 60:.0f}"


_COLUMNS = {
    "model": lambda cell: f"`{cell.title}`",
    "paper": lambda cell: markdown.MISSING if cell.paper is None else f"{cell.paper:.2f}",
    "last epoch": _error("test_error_last_epoch"),
    "last, sampled": _error("test_error_last_epoch_sampled"),
    "best epoch": _error("test_error_best_epoch"),
    "shared classes": _error("test_error_shared_classes"),
    "ECE": _error("expected_calibration_error"),
    "NLL": lambda cell: _text(cell.last_epoch("nll"), 3),
    "nats": lambda cell: _text(cell.last_epoch("kl_nats"), 1),
    "parameters": _of_results(lambda results: f"{results[0]['parameters']:,}"),
    "minutes": _of_results(_minutes),
    "seeds": _of_results(lambda results: ", ".join(str(result["seed"]) for result in results)),
    "scale": _of_results(lambda results: markdown.scale(reductions(results[0]))),
}


def _text(spread, digits):
    if spread is None:
        return markdown.MISSING
    mean, std = spread
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")
