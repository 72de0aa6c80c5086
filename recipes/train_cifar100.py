"""CIFAR-100 with the settings of the paper's authors.

Paper (Table 1, top-1 error): vgg 30.62 %, vgg_aib 21.56 %, vgg_aib_qt 20.87 %, wrn 19.25 %,
wrn_aib 17.82 %, wrn_aib_qt 17.64 %; 200 epochs, best epoch. Use a GPU: an epoch has as
many images as on CIFAR-10, where it takes 1.5 to 3 hours on two CPU cores.

    python recipes/train_cifar100.py --model=vgg_aib_qt
"""

from aib_keras.experiments import TrainingConfig, command_line

DEFAULTS = TrainingConfig(model="vgg_aib_qt", dataset="cifar100")
MODEL_SETTINGS = {"vgg_aib_qt": {"num_anchors": 50}, "wrn_aib_qt": {"num_anchors": 20}}

if __name__ == "__main__":
    command_line.main(DEFAULTS, MODEL_SETTINGS)
