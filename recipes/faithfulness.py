r"""How far the maps of trained models can be trusted: faithfulness and localisation.

The paper has no such table. The recipe measures several maps of each model on the same images: its
own map, also quantised if the model quantises it; Grad-CAM at the same features; the gradient; and
two that every map must beat, a uniform one and a Gaussian in the middle. The scores are insertion
and deletion AUC of the predicted class's probability (Petsiuk et al., 2018) and, for data with
boxes, the pointing game (Zhang et al., 2016) and the energy in the box (Wang et al., 2020). --maps
and --curves name others, such as Grad-CAM++, Score-CAM and ROAD (Rong et al., 2022), which take
longer. All maps have the resolution of the model's own, because blocks of another size change an
image in another way.

    python recipes/faithfulness.py --runs=runs/table1

It takes about 6 minutes per model on two CPU cores, at an eighth of the width (200,000 forward
passes of an image). The same command again measures only what is new. The recipe leaves
faithfulness-scores.json in each work directory, and faithfulness.md and .json in the first of
--runs.
"""

from absl import app, flags, logging

from aib_keras.experiments import examples, map_scores, markdown, measured, tables
from aib_keras.experiments.results import titles
from aib_keras.utils import program

RUNS = flags.DEFINE_list("runs", ["runs"], "Folders of work directories.")
MODELS = flags.DEFINE_list("models", None, "Names of the zoo; default: all that have a map.")
EXAMPLES = flags.DEFINE_integer("examples", 1000, "Number of test images to measure on.", 1)
STEPS = flags.DEFINE_integer("steps", 16, "Points of each curve.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the order of cells with equal values.")
MAPS = flags.DEFINE_list(
    "maps", None, f"Maps to score, of {', '.join(map_scores.MAPS)}; default: all but the last 3."
)
CURVES = flags.DEFINE_list(
    "curves", ["insertion", "deletion"], f"Scores to measure, of {', '.join(map_scores.CURVES)}."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a forward pass.", 1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data, if it has moved.")

# Scores in the order of the columns. Arrows show which way is better.
COLUMNS = {
    "insertion": "insertion AUC ↑",
    "deletion": "deletion AUC ↓",
    "road": "ROAD AUC ↓",
    "pointing": "pointing ↑",
    "energy": "energy in box ↑",
}


def main(argv):
    program.check_no_arguments(argv)
    logging.set_verbosity(logging.WARNING)
    results = measured.chosen_trainings(RUNS.value, MODELS.value)
    program.check_choices(MAPS, map_scores.MAPS)
    program.check_choices(CURVES, map_scores.CURVES)
    settings = map_scores.Settings(
        EXAMPLES.value,
        maps=None if MAPS.value is None else tuple(MAPS.value),
        steps=STEPS.value,
        seed=SEED.value,
        batch_size=BATCH_SIZE.value,
        curves=tuple(CURVES.value),
    )
    found = [
        {
            "title": title,
            "workdir": result["workdir"],
            "prepared": examples.how_prepared(result),
            **scores,
        }
        for title, result in zip(titles(results), results, strict=True)
        if (scores := map_scores.measure(result, settings, DATA_DIR.value)) is not None
    ]
    if not found:
        raise app.UsageError("None of these models has a map.")
    parts = sorted(tables.grouped(found, "dataset", "evaluated_on", "prepared"))
    text = "\n".join(section(*part) for part in parts)
    markdown.write(RUNS.value[0], "faithfulness", text, found)


def section(part, found):
    """Returns a Markdown table of the models measured on the same images, a row per map."""
    scored = [(each, name, scores) for each in found for name, scores in each["maps"].items()]
    columns = [name for name in COLUMNS if any(name in scores for _, _, scores in scored)]
    counts = sorted({each["evaluated_examples"] for each in found})
    rows = [
        [
            f"`{each['title']}`",
            str(each["seed"]),
            name,
            *(markdown.number(scores.get(column), 3) for column in columns),
        ]
        for each, name, scores in scored
    ]
    lines = [
        f"## {', '.join(part)}",
        "",
        f"{' or '.join(f'{count:,}' for count in counts)} images. ↑: more is better, ↓: less is.",
        "",
        *markdown.table(["model", "seed", "map", *(COLUMNS[name] for name in columns)], rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
