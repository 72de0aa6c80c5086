r"""A classifier of your own photos that shows where it looks, from ImageNet weights.

The paper has nothing on this. DATA is a folder with one folder of photos per class; a fifth of them
is held back to evaluate on. (It can also be a TFDS name, or have `train` and `test` in it.)

    pip install "aib-keras[tensorflow,train,photos,litert]"
    python recipes/train_photos.py --dataset=DATA

Ten classes of 30 photos take about 10 minutes on two CPU cores. The recipe leaves `report.html`
(error, calibration, confusion matrix, mistakes, maps over the photos, scores of the maps against
Grad-CAM), the model, a SavedModel and a LiteRT file. The same command again resumes.

The layers before the attention keep their ImageNet weights, which is fast and enough for hundreds
of photos. With thousands, `--nofreeze_features --learning_rate=0.0003` trains them, too.
"""

from aib_keras.experiments import TrainingConfig, command_line, report

DEFAULTS = TrainingConfig(
    model="efficientnet_lite0_aib_qt",
    dataset="photos",
    settings={"backbone_weights": "imagenet", "modulation": "mask", "map_beta": 0.1},
    image_size=224,
    crop_pct=0.875,
    epochs=10,
    batch_size=32,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="cosine",
    freeze_features=True,
    prediction_samples=0,
)

if __name__ == "__main__":
    command_line.main(
        DEFAULTS, export_formats=("saved_model", "litert"), report=report.write_report
    )
