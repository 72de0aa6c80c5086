"""The paper's quantised models in plain PyTorch, to compare speed with. Channels last.

The layers are those of `aib_keras.zoo.vgg_aib_qt` and `wrn_aib_qt`, without anything around them.
"""

import torch
from torch import nn
from torch.nn import functional


def create(name, width):
    """Returns a model by its name in the zoo, `"vgg_aib_qt"` or `"wrn_aib_qt"`."""
    return {"vgg_aib_qt": vgg_aib_qt, "wrn_aib_qt": wrn_aib_qt}[name](width).to(
        memory_format=torch.channels_last
    )


class AIBQuantized(nn.Module):
    """Sampled and quantised attention before a variational bottleneck. Returns the loss."""

    def __init__(self, features, head, trunk, trunk_channels, latent_dim, decoder, num_anchors):
        super().__init__()
        self.features, self.head, self.trunk, self.decoder = features, head, trunk, decoder
        self.std_conv = nn.Conv2d(1, 1, 3, padding=1)
        self.anchors = nn.Parameter(torch.linspace(0, 1, num_anchors))
        self.latent = nn.Linear(trunk_channels, 2 * latent_dim)

    def forward(self, images, labels, beta=0.01):
        features = self.features(images)
        mean = torch.sigmoid(self.head(features).float())
        std = functional.softplus(self.std_conv(mean).float() - 5)
        sampled = mean + torch.randn_like(mean) * std
        with torch.no_grad():
            anchors = self.anchors.sort().values
            nearest = torch.bucketize(sampled, (anchors[1:] + anchors[:-1]) / 2)
        quantized = self.anchors[nearest]
        attention = sampled + (quantized - sampled).detach()
        trunk = self.trunk(features * (1 + attention.to(features.dtype))).flatten(1)
        mean, raw = self.latent(trunk).float().chunk(2, dim=1)
        std = functional.softplus(raw - 5)
        logits = self.decoder(mean + torch.randn_like(mean) * std)
        kl = 0.5 * (mean.square() + std.square() - 1).sum(1) - std.log().sum(1)
        return (
            functional.cross_entropy(logits.float(), labels)
            + beta * kl.mean()
            + 0.4 * (sampled.detach() - quantized).square().mean()
            + 0.1 * (sampled - quantized.detach()).square().mean()
        )


def _vgg_stage(channels, filters):
    layers = []
    for count in filters:
        layers += [nn.Conv2d(channels, count, 3, padding=1), nn.BatchNorm2d(count), nn.ReLU(True)]
        channels = count
    return [*layers, nn.MaxPool2d(2)]


def vgg_aib_qt(width):
    """VGG with quantised IB attention, 32x32 images, 10 classes."""
    c64, c128, c256, c512 = (round(count * width) for count in (64, 128, 256, 512))
    trunk = _vgg_stage(c256, (c512,) * 3) + _vgg_stage(c512, (c512,) * 3)
    trunk += _vgg_stage(c512, (c512,)) + _vgg_stage(c512, (c512,))
    trunk += [nn.Conv2d(c512, c512, 1), nn.ReLU(True)]
    return AIBQuantized(
        features=nn.Sequential(*_vgg_stage(3, (c64, c64, c128, c128, c256, c256, c256))),
        head=nn.Conv2d(c256, 1, 3, padding=1),
        trunk=nn.Sequential(*trunk),
        trunk_channels=c512,
        latent_dim=256,
        decoder=nn.Sequential(nn.Linear(256, 256), nn.ReLU(True), nn.Linear(256, 10)),
        num_anchors=20,
    )


class _Block(nn.Module):
    """A pre-activation block with dropout, as in Wide-ResNet."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(filters)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.shortcut = None
        if stride != 1 or channels != filters:
            self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x):
        y = functional.relu(self.bn1(x))
        x = x if self.shortcut is None else self.shortcut(y)
        y = functional.dropout(functional.relu(self.bn2(self.conv1(y))), 0.3, self.training)
        return x + self.conv2(y)


def _group(channels, filters, stride):
    blocks = [_Block(filters, filters, 1) for _ in range(3)]
    return [_Block(channels, filters, stride), *blocks]


def wrn_aib_qt(width):
    """WRN-28-10 with quantised IB attention, 32x32 images, 10 classes."""
    c16, c160, c320, c640 = (round(count * width) for count in (16, 160, 320, 640))
    head = _group(c320, c640, 1)
    head += [nn.BatchNorm2d(c640), nn.Conv2d(c640, 10, 1, bias=False)]
    head += [nn.BatchNorm2d(10), nn.ReLU(True)]
    head += [nn.Conv2d(10, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1)]
    trunk = [*_group(c320, c640, 2), nn.BatchNorm2d(c640), nn.ReLU(True), nn.AdaptiveAvgPool2d(1)]
    stem = nn.Conv2d(3, c16, 3, padding=1, bias=False)
    return AIBQuantized(
        features=nn.Sequential(stem, *_group(c16, c160, 1), *_group(c160, c320, 2)),
        head=nn.Sequential(*head),
        trunk=nn.Sequential(*trunk),
        trunk_channels=c640,
        latent_dim=512,
        decoder=nn.Sequential(nn.ReLU(True), nn.Linear(512, 10)),
        num_anchors=50,
    )
