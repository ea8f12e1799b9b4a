# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline on a photograph with small *random* weights: it shows the way, not skill.

python examples/demo.py --out demo
"""

import argparse
from pathlib import Path

import torch

from vitruvian.cli import main
from vitruvian.model import SIZES, DenseHeadConfig, Network, NetworkConfig
from vitruvian.model.card import Card, TaskCard
from vitruvian.model.weights import save

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, default=Path("demo"))
out = parser.parse_args().out

torch.manual_seed(0)
shapes = {"pose": (308, 2), "parts": (28, 3), "depth": (1, 3), "normals": (3, 3)}
heads = {
    name: DenseHeadConfig(in_dim=SIZES["nano"].dim, out=count, widths=(32,) * ups, refine=(32,))
    for name, (count, ups) in shapes.items()
}
network = Network(NetworkConfig(backbone=SIZES["nano"], heads=heads))
network.reset_parameters()
card = Card(
    name="demo-random",
    generation="vitruvian",
    network=network.config,
    tasks={
        "pose": TaskCard(vocabulary="sapiens308"),
        "parts": TaskCard(vocabulary="parts28"),
        "depth": TaskCard(),
        "normals": TaskCard(),
    },
    input_size=(256, 192),
    framing="person",
    licence="Apache-2.0",
    commercial="yes",
)
weights = out / "random.safetensors"
save(weights, network, card)

photo = Path(__file__).parent / "photos" / "astronaut.jpg"
arguments = ["--model", str(weights), "--detector", "whole", "--mask", "none", "--overwrite"]
code = main(["predict", str(photo), "--out", str(out), *arguments])
print(f"Look at {out}/astronaut_sheet.jpg. These weights are random and know nothing:")
print("trained ones come later, published ones with `vitruvian weights list`.")
raise SystemExit(code)
