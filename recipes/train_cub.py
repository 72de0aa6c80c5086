r"""CUB-200-2011 (birds) with the settings of the paper's authors.

Paper (Table 1, top-1 error): vgg16_aib 23.73 %, vgg16_aib_qt 21.83 %, wrn50_2 26.50 %,
wrn50_2_aib 17.26 %, wrn50_2_aib_qt 15.50 %, from ImageNet weights, 200 epochs at 224 pixels, best
epoch. Use a GPU. keras.applications downloads the weights of VGG-16. Those of Wide-ResNet-50-2 come
from a torchvision or timm file:

    python recipes/train_cub.py --model=vgg16_aib_qt --set=backbone_weights=imagenet
    python recipes/train_cub.py --model=wrn50_2_aib_qt --set=backbone_weights=wide_resnet50_2.pth

The 32-pixel family at 80 pixels, as in Jetley et al. (paper: vgg 34.64 %, vgg_att3 26.95 %):

    python recipes/train_cub.py --model=vgg_att3 --image_size=80

Images are cropped to the bird's box. --nocrop_to_box takes whole images and then scores the map
against the box. --dataset takes any TFDS name or, with --nocrop_to_box, a folder of class folders.
The recipe ends with a SavedModel and a LiteRT file. docs/results.md has a command for two cores.
"""

from aib_keras.experiments import TrainingConfig, command_line

DEFAULTS = TrainingConfig(
    model="vgg16_aib_qt",
    dataset="caltech_birds2011",
    image_size=224,
    crop_pct=224 / 256,
    crop_to_box=True,
    batch_size=16,
    optimizer="adam",
    learning_rate=1e-4,
    schedule="exponential",
    prediction_samples=12,
)

if __name__ == "__main__":
    command_line.main(DEFAULTS, export_formats=("saved_model", "litert"))
