r"""A classifier of your own photos that shows where it looks, from ImageNet weights.

The paper has nothing on this. DATA is a folder with one folder of photos per class; a fifth of them
is held back to evaluate on. (It can also be a TFDS name, or have `train` and `test` in it.)

    pip install -e ".[tensorflow,train,photos,litert]"
    python recipes/train_photos.py --dataset=DATA

Ten classes of 50 photos take about 8 minutes on two busy CPU cores. The recipe leaves `report.html`
(error, calibration, confusion matrix, mistakes, maps over the photos, scores of the maps against
Grad-CAM), the model, a SavedModel and a LiteRT file. The same command again resumes.

The backbone keeps its ImageNet weights, and its features are computed once: fast, and enough for
hundreds of photos. docs/guides/photos.md has a second step, which trains the backbone, too.
"""

from aib_keras.experiments import photos

if __name__ == "__main__":
    photos.main()
