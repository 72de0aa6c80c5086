r"""Makes work directories of published weights, which the other recipes measure like runs.

The paper has nothing on this. It takes seconds per model.

    python recipes/unpack.py --weights='*/cifar10*' --runs=runs/zoo
    python recipes/table1.py --runs=runs/zoo

So Tables 1 and 2, the scores of the maps and all other tables can be made without any training.
Each work directory is runs/zoo/MODEL-NAME. The weights come from the zoo: the folder zoo/ of
a checkout, or what AIB_KERAS_ZOO names.
"""

from absl import app, flags

from aib_keras.experiments import publishing
from aib_keras.utils import program
from aib_keras.zoo import pretrained

WEIGHTS = flags.DEFINE_list("weights", ["*"], "Which weights, patterns of MODEL/NAME.")
RUNS = flags.DEFINE_string("runs", "runs/zoo", "Folder of the work directories.")


def main(argv):
    program.check_no_arguments(argv)
    try:
        for entry in pretrained.matching(WEIGHTS.value):
            print(publishing.unpack(entry, RUNS.value), flush=True)
    except ValueError as error:
        raise app.UsageError(str(error)) from None


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
