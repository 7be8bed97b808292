"""The same networks as plain PyTorch modules, for comparison; nothing but this folder needs PyTorch."""

import torch
from torch import nn


def _conv_norm(before: int, after: int, kernel_size: int, strides: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel_size, strides, kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))


class _Residual(nn.Module):
    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


class _ZeroShortcut(nn.Module):
    """Every second pixel, and channels of zeros behind those that there are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def resnet50(classes: int = 1000) -> nn.Module:
    """Bottlenecks with their stride in the first convolution, as published."""
    layers: list[nn.Module] = [_conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for number in range(count):
            strides = 2 if number == 0 and stage else 1
            block = nn.Sequential(
                _conv_norm(before, width, 1, strides), nn.ReLU(), _conv_norm(width, width, 3), nn.ReLU(),
                _conv_norm(width, 4 * width, 1),
            )  # fmt: skip
            shortcut = nn.Identity() if before == 4 * width else _conv_norm(before, 4 * width, 1, strides)
            layers.append(_Residual(block, shortcut))
            before = 4 * width
    return nn.Sequential(*layers, _Mean(), nn.Linear(before, classes), nn.Softmax(1))


def resnet20(classes: int = 10) -> nn.Module:
    """Logits; identity shortcuts with zero padding."""
    layers: list[nn.Module] = [_conv_norm(3, 16, 3), nn.ReLU()]
    before = 16
    for width in (16, 32, 64):
        for _ in range(3):
            strides = width // before
            block = nn.Sequential(_conv_norm(before, width, 3, strides), nn.ReLU(), _conv_norm(width, width, 3))
            layers.append(_Residual(block, nn.Identity() if before == width else _ZeroShortcut()))
            before = width
    return nn.Sequential(*layers, _Mean(), nn.Linear(before, classes))


class _Inception(nn.Module):
    def __init__(self, before: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _conv(before, one, 1),
                nn.Sequential(_conv(before, three[0], 1), _conv(*three, 3)),
                nn.Sequential(_conv(before, five[0], 1), _conv(*five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(before, pool, 1)),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _conv(before: int, after: int, kernel_size: int, strides: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel_size, strides, kernel_size // 2), nn.ReLU())


# table 1 of Szegedy et al. 2014; None is a pooling
_MODULES = (
    (192, 64, (96, 128), (16, 32), 32),
    (256, 128, (128, 192), (32, 96), 64),
    None,
    (480, 192, (96, 208), (16, 48), 64),
    (512, 160, (112, 224), (24, 64), 64),
    (512, 128, (128, 256), (24, 64), 64),
    (512, 112, (144, 288), (32, 64), 64),
    (528, 256, (160, 320), (32, 128), 128),
    None,
    (832, 256, (160, 320), (32, 128), 128),
    (832, 384, (192, 384), (48, 128), 128),
)


def inception_v1(classes: int = 1000) -> nn.Module:
    """Without the auxiliary classifiers."""
    layers: list[nn.Module] = [
        _conv(3, 64, 7, 2),
        nn.MaxPool2d(3, 2, 1),
        nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),  # its alpha is divided by 5
        _conv(64, 64, 1),
        _conv(64, 192, 3),
        nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        nn.MaxPool2d(3, 2, 1),
    ]
    layers += [nn.MaxPool2d(3, 2, 1) if row is None else _Inception(*row) for row in _MODULES]
    return nn.Sequential(*layers, _Mean(), nn.Linear(1024, classes), nn.Softmax(1))


_BACKBONES = {  # filters of the convolutions between poolings: 3 x 3 and 1 x 1 in turn
    "small": ((16,), (32,), (64,), (128,), (256,), (256,)),  # for pictures of 256 x 256
    "darknet19": ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512) * 2 + (1024,)),
}


def yolo_grid(classes: int = 20, *, boxes: int = 5, backbone: str = "small") -> nn.Module:
    """What the network says of each cell, without boxes made of it."""
    layers: list[nn.Module] = []
    before = 3
    for stage, filters in enumerate(_BACKBONES[backbone]):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for number, after in enumerate(filters):
            layers += [_conv_norm(before, after, 1 if number % 2 else 3), nn.LeakyReLU(0.1)]
            before = after
    layers += [_conv_norm(before, before, 3), nn.LeakyReLU(0.1), nn.Conv2d(before, boxes * (5 + classes), 1)]
    return nn.Sequential(*layers)


class _SequenceClassifier(nn.Module):
    def __init__(self, layer: nn.Module, embedding: nn.Module, classifier: nn.Module, *, masked: bool) -> None:
        super().__init__()
        self.embedding, self.layer, self.classifier, self.masked = embedding, layer, classifier, masked

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        steps = self.embedding(tokens)
        if self.masked:
            lengths = (tokens != 0).sum(1)
            packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True)
            outputs, _ = nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)
            # torch.onnx cannot write the last state of a packed sequence, which would be the same
            places = (lengths - 1)[:, None, None].expand(-1, 1, outputs.shape[2])
            last = torch.gather(outputs, 1, places)[:, 0]
        else:
            last = self.layer(steps)[0][:, -1]
        return torch.softmax(self.classifier(last), 1)


_LAYERS = {"simple": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def sequence_classifier(
    cell: str, units: int, *, tokens: int, embedding_size: int, classes: int, masked: bool
) -> nn.Module:
    """One layer in one direction; ``masked``: zeros behind a sequence are padding, the longest sequence comes first."""
    layer = _LAYERS[cell](embedding_size, units, batch_first=True)
    embedding, classifier = nn.Embedding(tokens, embedding_size), nn.Linear(units, classes)
    return _SequenceClassifier(layer, embedding, classifier, masked=masked)
