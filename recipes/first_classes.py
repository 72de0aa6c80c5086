r"""Makes a TFDS data set of the first classes of another one, such as `cub50`.

The paper has nothing on this. The bird experiments of docs/results.md use the first 50 of the 200
classes of CUB-200-2011, which TFDS calls caltech_birds2011:

    python recipes/first_classes.py --dataset=caltech_birds2011 --num_classes=50 --name=cub50

The images are those of the data set, bit by bit. (In the `cub50` of our figures the longest side
has at most 320 pixels, so yours can differ a little.) Then pass --dataset=cub50 to any recipe, with
the same --data_dir. It takes about a minute, after the download.
"""

import io
import pathlib

import tensorflow_datasets as tfds
from absl import app, flags

from aib_keras.utils import program

DATASET = flags.DEFINE_string("dataset", "caltech_birds2011", "TFDS name of the whole data set.")
NUM_CLASSES = flags.DEFINE_integer("num_classes", 50, "How many classes to keep.", 1)
NAME = flags.DEFINE_string("name", None, "Name of the new data set.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")

VERSION = "1.0.0"
# What the library reads of a data set.
KEPT = ("image", "label", "bbox")


def main(argv):
    program.check_no_arguments(argv)
    builder = tfds.builder(DATASET.value, data_dir=DATA_DIR.value)
    features = {name: builder.info.features[name] for name in KEPT if name in builder.info.features}
    names = features["label"].names
    if NUM_CLASSES.value > len(names):
        raise app.UsageError(
            f"--num_classes={NUM_CLASSES.value}: {DATASET.value} has {len(names)} classes."
        )
    folder = pathlib.Path(DATA_DIR.value or tfds.core.constants.DATA_DIR).expanduser() / NAME.value
    if folder.exists():
        raise app.UsageError(f"{folder} is there already. Choose another --name, or delete it.")
    builder.download_and_prepare()
    features["label"] = tfds.features.ClassLabel(names=names[: NUM_CLASSES.value])
    made = tfds.dataset_builders.store_as_tfds_dataset(
        name=NAME.value,
        version=VERSION,
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: enumerate(kept(builder, split)) for split in builder.info.splits},
        data_dir=DATA_DIR.value or tfds.core.constants.DATA_DIR,
        description=f"The first {NUM_CLASSES.value} classes of {DATASET.value}",
    )
    for split, info in made.info.splits.items():
        print(f"{NAME.value}, {split}: {info.num_examples:,} images", flush=True)


def kept(builder, split):
    """Yields the examples of a split that are of the classes to keep, as TFDS encodes them."""
    # The file of an image, which decoding and encoding would change.
    decoders = {"image": tfds.decode.SkipDecoding()}
    for example in tfds.as_numpy(builder.as_dataset(split, decoders=decoders)):
        if example["label"] < NUM_CLASSES.value:
            found = {"image": io.BytesIO(example["image"]), "label": int(example["label"])}
            if "bbox" in example:
                found["bbox"] = tfds.features.BBox(*map(float, example["bbox"]))
            yield found


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
