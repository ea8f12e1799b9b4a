# SPDX-License-Identifier: Apache-2.0
"""The starting value of every weight, in one place.

| tensor                               | first generation            | second generation           |
|--------------------------------------|-----------------------------|-----------------------------|
| linear weights                       | Xavier uniform              | N(0, 0.02) cut at ±2        |
| patch convolution                    | Xavier uniform on (D, 768)  | N(0, 0.02) cut at ±2        |
| biases                               | 0; in the mlp N(0, 1e-6)    | 0                           |
| norms                                | weight 1, bias 0            | weight 1                    |
| position table                       | sine-cosine, class row 0    | none                        |
| class token, registers, window token | N(0, 0.02)                  | N(0, 0.02) cut at ±2        |
| position in the window               | –                           | N(0, 0.02) cut at ±2        |
| layer scale                          | –                           | 1e-4 (the configured value) |
| convolutional stem (our own sizes)   | Kaiming normal, fan out     | Kaiming normal, fan out     |
| MAE decoder                          | as the first generation; mask token N(0, 0.02) | the same |

| head (``init``) | convolutions                  | predictor  | linears        | biases           |
|-----------------|-------------------------------|------------|----------------|------------------|
| ``kaiming``     | Kaiming normal, fan out, ReLU | the same   | Kaiming normal | 0                |
| ``small``       | N(0, 0.001)                   | the same   | –              | 0                |
| ``library``     | torch's own                   | N(0, 0.01) | –              | torch's; last 0  |

A network with a learned table counts as first generation, one with rotary positions as second.
Sources: the code published for Sapiens and Sapiens2 (the heads of the second are ``kaiming``, pose
of the first ``small``, its other heads ``library``); the stem follows arXiv 2106.14881.
"""

import torch
from torch import nn


@torch.no_grad()
def initialise_transformer(module: nn.Module, *, xavier: bool) -> None:
    """Initialise linears, norms and layer scales below ``module``; see the table above."""
    for name, child in module.named_modules():
        if isinstance(child, nn.Linear):
            if xavier:
                nn.init.xavier_uniform_(child.weight)
            else:
                nn.init.trunc_normal_(child.weight, std=0.02)
            nn.init.zeros_(child.bias)
            if xavier and name.endswith(("mlp.fc1", "mlp.fc2")):
                nn.init.normal_(child.bias, std=1e-6)
        elif isinstance(child, nn.LayerNorm):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
        for key, parameter in child.named_parameters(recurse=False):
            if key == "weight" and parameter.ndim == 1 and not isinstance(child, nn.LayerNorm):
                nn.init.ones_(parameter)  # root-mean-square norms
            elif key == "scale":
                nn.init.constant_(parameter, child.layer_scale)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def initialise_patches(convolution: nn.Conv2d, *, xavier: bool) -> None:
    """Initialise the convolution that turns patches into tokens."""
    if xavier:
        nn.init.xavier_uniform_(convolution.weight.flatten(1))
    else:
        nn.init.trunc_normal_(convolution.weight, std=0.02)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


@torch.no_grad()
def initialise_tokens(*parameters: nn.Parameter, cut: bool) -> None:
    """Initialise learned tokens with N(0, 0.02), cut at an absolute 2 or not."""
    for parameter in parameters:
        if cut:
            nn.init.trunc_normal_(parameter, std=0.02)
        else:
            nn.init.normal_(parameter, std=0.02)


@torch.no_grad()
def initialise_kaiming(module: nn.Module) -> None:
    """Kaiming: convolutions fan out for ReLU, linears fan in without gain, biases 0, norms 1."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(child, nn.Linear):
            nn.init.kaiming_normal_(child.weight, mode="fan_in", nonlinearity="linear")
        for key, parameter in child.named_parameters(recurse=False):
            if key == "bias":
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)


@torch.no_grad()
def initialise_small(module: nn.Module) -> None:
    """Every convolution N(0, 0.001), biases 0."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(child.weight, std=0.001)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
