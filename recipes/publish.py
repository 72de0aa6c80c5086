r"""Puts the weights of a finished training into the zoo, where `weights="NAME"` finds them.

The paper has nothing on this. It takes seconds, and minutes with `--evaluate`.

    python recipes/publish.py --workdir=runs/cifar10-vgg-seed0 --name=cifar10

It writes to --zoo the weights in float16, their entry in index.json, a card, and README.md, which
lists all entries. With `--evaluate` it first measures a training that was made without the test
data, for example on a GPU machine that has none.
"""

from absl import app, flags, logging

from aib_keras.experiments import publishing, run
from aib_keras.utils import program

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the training.", required=True)
NAME = flags.DEFINE_string("name", None, "Name of the weights, such as cifar10.", required=True)
ZOO = flags.DEFINE_string("zoo", "zoo", "Folder to write to.")
EVALUATE = flags.DEFINE_bool("evaluate", False, "Evaluate the training on its test data first.")
NOTE = flags.DEFINE_string("note", "", "Sentences for the card, such as on the machine used.")
BUNDLED = flags.DEFINE_bool("bundled", False, "Whether the wheel is to contain the file.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")


def main(argv):
    program.check_no_arguments(argv)
    # TFDS logs every file that it opens.
    logging.set_verbosity(logging.WARNING)
    try:
        # Before what takes minutes.
        publishing.check_target(NAME.value, ZOO.value)
        if EVALUATE.value:
            run.evaluate(WORKDIR.value, DATA_DIR.value)
        entry = publishing.publish(
            WORKDIR.value, NAME.value, ZOO.value, note=NOTE.value, bundled=BUNDLED.value
        )
    except (ValueError, OSError) as error:
        raise app.UsageError(str(error)) from None
    print(
        f'zoo.{entry.model}(weights="{entry.name}"): {100 * entry.error:.2f} % error, '
        f"{entry.bytes / 2**20:.1f} MiB"
    )


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
