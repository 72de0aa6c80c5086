"""SVHN with the settings of the paper's authors.

Paper (Table 1, top-1 error): vgg 4.27 %, vgg_aib 3.24 %, vgg_aib_qt 3.07 %, wrn_aib 2.76 %,
wrn_aib_qt 2.69 %; 200 epochs, best epoch. Use a GPU: an epoch has 1.5
times the images of CIFAR-10, where it takes 1.5 to 3 hours on two CPU cores.

    python recipes/train_svhn.py --model=vgg_aib_qt
"""

from aib_keras.experiments import TrainingConfig, command_line

HALF = (0.5, 0.5, 0.5)
DEFAULTS = TrainingConfig(
    model="vgg_aib_qt",
    dataset="svhn_cropped",
    settings={"mean": HALF, "std": HALF},
    # The authors flip house numbers too.
    augment="crop_flip",
)

if __name__ == "__main__":
    command_line.main(DEFAULTS)
