"""Writes the model cards of finished trainings, and the zoo's README that lists them.

The paper has nothing on this. It takes seconds.

    python recipes/model_cards.py --runs=runs/table1,runs/cub --zoo=zoo

The recipe reads every */result.json in the folders of --runs and writes cards/*.md and README.md to
--zoo.
"""

from absl import app, flags

from aib_keras.experiments import cards, tables

RUNS = flags.DEFINE_list("runs", ["runs"], "Folders of work directories.")
ZOO = flags.DEFINE_string("zoo", "zoo", "Folder to write to.")


def main(argv):
    del argv
    results = tables.read_trainings(RUNS.value)
    if not results:
        raise app.UsageError(f"--runs={','.join(RUNS.value)}: no finished training there.")
    cards.write_cards(ZOO.value, results)
    print(f"{len(results)} cards in {ZOO.value}/cards, listed in {ZOO.value}/README.md.")


if __name__ == "__main__":
    app.run(main)
