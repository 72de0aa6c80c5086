r"""CIFAR-10 with the settings of the paper's authors.

Paper (Table 1, top-1 error): vgg 7.77 %, vgg_aib 4.28 %, vgg_aib_qt 4.10 %, wrn 4.00 %,
wrn_aib 3.60 %, wrn_aib_qt 3.43 %; 200 epochs, best epoch.

    python recipes/train_cifar10.py --model=vgg_aib_qt

Use a GPU for that: on two CPU cores an epoch takes 1.5 to 3 hours. About 15 minutes on two cores:

    python recipes/train_cifar10.py --model=vgg_aib_qt --width=0.125 --train_examples=20000 \
        --epochs=10
"""

from aib_keras.experiments import TrainingConfig, command_line

DEFAULTS = TrainingConfig(model="vgg_aib_qt", dataset="cifar10")

if __name__ == "__main__":
    command_line.main(DEFAULTS)
