# SPDX-License-Identifier: Apache-2.0
"""Training from the command: going on, first weights, mixed labels, and the file that comes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vitruvian as vi
from toy_people import PARTS, POINTS, toy_people
from vitruvian.cli import main
from vitruvian.data.pack import pack
from vitruvian.data.source import Listed
from vitruvian.errors import InputError, WeightsError
from vitruvian.files import read_json
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.network import Network
from vitruvian.model.sizes import SIZES
from vitruvian.model.weights import load, load_mae, save
from vitruvian.recipes import Part, Run, multi, parts, pose, pretrain
from vitruvian.recipes.evaluation import Evaluation
from vitruvian.recipes.training import accumulation, prepared
from vitruvian.recipes.weights import card_of, starting_network
from vitruvian.train.log import read_lines
from vitruvian.train.parallel import Parallel

SMALL = {"steps": 4, "batch": 4, "input_size": (64, 48)}
FLAGS = ["--size", "nano", "--input-size", "64", "48", "--batch", "4", "--no-preflight"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shards")
    pack(Listed(toy_people(12)), place)
    return place


def trained(shards: Path, out: Path, *more: str, recipe: str = "multi", steps: int = 4) -> int:
    command = ["train", recipe, "--data", str(shards), "--out", str(out), "--steps", str(steps)]
    return main([*command, *FLAGS, *more])


def test_one_backbone_for_all_tasks_opens_and_goes_on(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    assert trained(shards, out, "--val", str(shards), "--save-every", "2") == 0
    lines = read_lines(out / "metrics.jsonl")
    assert {"pose/loss", "parts/loss", "depth/loss", "normals/cosine"} <= lines[0].keys()
    assert {"pose/whole/AP", "parts/mIoU", "depth/RMSE", "normals/mean"} <= lines[-1].keys()
    assert list((out / "pictures").glob("*-predictions.png"))
    people = vi.load(out / "weights.safetensors", detector="whole")(toy_people(1)[0].image)
    assert set(people[0].annotations) == {"pose", "parts", "depth", "normals"}
    assert people[0].points("pose").vocabulary == POINTS
    before = (out / "weights.safetensors").read_bytes()
    assert main(["train", "--out", str(out)]) == 0  # nothing left to do, from its own run.json
    assert (out / "weights.safetensors").read_bytes() == before


def test_a_killed_training_ends_as_an_undisturbed_one(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trained(shards, tmp_path / "whole", recipe="pose", steps=4) == 0
    from vitruvian.train import loop

    class Killed(BaseException):
        pass

    report = loop._Loop._report

    def dying(self) -> None:
        report(self)
        if self.step == 3:
            raise Killed

    monkeypatch.setattr(loop._Loop, "_report", dying)
    with pytest.raises(Killed):
        trained(shards, tmp_path / "cut", "--set", "loop.save_every=1", recipe="pose", steps=4)
    monkeypatch.undo()
    assert trained(shards, tmp_path / "cut", "--set", "loop.save_every=1", recipe="pose") == 0
    files = [tmp_path / name / "weights.safetensors" for name in ("whole", "cut")]
    whole, cut = (load(file)[0].state_dict() for file in files)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_run_repeats_from_its_file(shards: Path, tmp_path: Path, capsys) -> None:
    assert trained(shards, tmp_path / "a", "--show", recipe="parts") == 0
    text = capsys.readouterr().out
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    command = ["train", "--run", str(tmp_path / "run.json"), "--out", str(tmp_path / "b")]
    assert main([*command, "--no-preflight", "--set", "loop.schedule.steps=2"]) == 0
    stored = read_json(tmp_path / "b" / "run.json")
    assert stored["loop"]["schedule"]["steps"] == 2
    assert {**stored, "loop": 0} == {**Run.load(tmp_path / "run.json").to_dict(), "loop": 0}
    assert main([*command, "--lr", "1"]) == 2
    assert "--lr with the run of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--target", "heatmap"], "--target has no effect on parts"),
        (["--points", "coco17"], "--points has no effect on parts"),
        (["--set", "loop.clop=1"], "did you mean clip"),
        (["--repeat", "1", "2"], "2 numbers in --repeat for 1 sets"),
        (["--backgrounds", "x"], "no effect"),
        (["--epochs", "2"], "--steps and --epochs"),
    ],
)
def test_wrong_commands(shards: Path, tmp_path: Path, capsys, more: list, text: str) -> None:
    assert trained(shards, tmp_path, *more, recipe="parts") == 2
    assert text in capsys.readouterr().err.replace("\n", " ")


def test_nothing_to_train(tmp_path: Path, capsys) -> None:
    assert main(["train", "--out", str(tmp_path)]) == 2
    assert "holds no training to go on with" in capsys.readouterr().err


def test_pretraining_leaves_encoder_and_decoder(shards: Path, tmp_path: Path) -> None:
    assert trained(shards, tmp_path / "mae", "--val", str(shards), recipe="pretrain") == 0
    file = tmp_path / "mae" / "weights.safetensors"
    assert isinstance(load_mae(file), MAE)
    assert "val/pixels" in read_lines(tmp_path / "mae" / "metrics.jsonl")[-1]
    assert list((tmp_path / "mae" / "pictures").glob("*-masked.png"))
    # the encoder for a task, and both to go on
    network, start = starting_network(
        replace(pose("nano", vocabulary=POINTS, **SMALL), init=str(file))
    )
    encoder = load(file)[0].state_dict()
    assert all(torch.equal(network.state_dict()[n], t) for n, t in encoder.items())
    assert set(start.fresh) == {"heads.pose.up", "heads.pose.refine", "heads.pose.predict"}
    _, again = starting_network(replace(pretrain("nano", **SMALL), init=str(file)))
    assert again.fresh == ()
    assert "with its decoder" in again.source


# ------------------------------------------------------------------------ first weights


def stored(run: Run, path: Path) -> Path:
    torch.manual_seed(3)
    save(path, Network(run.network), card_of(run, "before"))
    return path


def test_other_points_start_with_a_fresh_predictor_alone(tmp_path: Path) -> None:
    before = stored(pose("nano", vocabulary="coco17", **SMALL), tmp_path / "coco.safetensors")
    run = replace(pose("nano", vocabulary=POINTS, **SMALL), init=str(before))
    network, start = starting_network(run)
    assert start.fresh == ("heads.pose.predict",)
    given = load(before)[0].state_dict()
    own = network.state_dict()
    same = [n for n in own if n in given and torch.equal(own[n], given[n])]
    assert len(same) == start.taken == len(own) - 2
    assert starting_network(replace(pose("nano", **SMALL), init=str(before)))[1].fresh == ()


def test_position_tables_follow_the_input(tmp_path: Path) -> None:
    """A first-generation pretraining (class token, square grid) begins a finetuning."""
    small = replace(SIZES["0.3b"], dim=32, depth=2, heads=2, mlp_hidden=64)
    masked = pretrain(replace(small, class_token=True, grid=(4, 4)), steps=2, input_size=(64, 64))
    masked = replace(masked, masked=MAEConfig(decoder_dim=16, decoder_depth=1, decoder_heads=2))
    file = stored(replace(masked, masked=masked.masked), tmp_path / "first.safetensors")
    base = pose("nano", vocabulary=POINTS, **SMALL)
    backbone = replace(small, grid=(4, 3))
    heads = {n: replace(h, in_dim=32) for n, h in base.network.heads.items()}
    run = replace(
        base, network=replace(base.network, backbone=backbone, heads=heads), init=str(file)
    )
    network, start = starting_network(run)
    assert start.resized == ("backbone.pos_embed",)
    assert isinstance(network, Network)
    assert network.backbone.pos_embed.shape == (1, 12, 32)  # no row for the class any more
    assert not any(name.startswith("backbone") for name in start.fresh)


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    before = stored(pose("nano", vocabulary=POINTS, **SMALL), tmp_path / "nano.safetensors")
    run = replace(pose("tiny", vocabulary=POINTS, **SMALL), init=str(before))
    with pytest.raises(WeightsError, match="leave out --size to take the one of the weights"):
        starting_network(run)


def test_frozen_and_low_rank_backbones(shards: Path, tmp_path: Path) -> None:
    for name, flags in (("frozen", ["--frozen"]), ("lora", ["--lora", "4"])):
        assert trained(shards, tmp_path / name, *flags, recipe="pose", steps=2) == 0
        after = load(tmp_path / name / "weights.safetensors")[0].state_dict()
        run = Run.load(tmp_path / name / "run.json")
        before = Network(run.network).state_dict()
        assert before.keys() == after.keys()  # LoRA is merged
        first = starting_network(replace(run, lora=None))[0].state_dict()
        moved = {n for n in first if not torch.equal(first[n], after[n])}
        in_backbone = {n for n in moved if n.startswith("backbone.")}
        assert bool(in_backbone) == (name == "lora")
        assert any(n.startswith("heads.") for n in moved)


# ------------------------------------------------------------------------ data


def test_sets_with_different_labels_mix(tmp_path: Path) -> None:
    people = toy_people(8)
    for name, kept in (("points", ("pose",)), ("maps", ("parts", "depth", "normals"))):
        some = [
            replace(s, people=(replace(p, annotations={k: p.annotations[k] for k in kept}),))
            for s in people
            for p in s.people
        ]
        pack(Listed(some), tmp_path / name)
    sets = (Part(path=str(tmp_path / "points"), repeat=2), Part(path=str(tmp_path / "maps")))
    made = prepared(replace(multi("nano", points=POINTS, parts=PARTS, **SMALL), data=sets))
    assert len(made.source) == 24
    first, last = (
        made.prepare(made.source[i], np.random.default_rng(0)) for i in (0, len(made.source) - 1)
    )
    assert first is not None
    assert last is not None
    assert first.keys() == last.keys()
    assert [int(first[f"{t}/valid"]) for t in ("pose", "parts")] == [1, 0]
    assert [int(last[f"{t}/valid"]) for t in ("pose", "parts")] == [0, 1]


class Knowing(torch.nn.Module):
    """Says the truth about windows that come in the order of the evaluation."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__()
        (self.task,) = evaluation.tasks.values()
        jobs = list(evaluation._jobs(0))
        encoded = [self.task.encode(job.person, job.view.crop)["labels"] for job in jobs]
        self.labels = torch.stack(encoded).long()
        self.asked = 0

    def forward(self, windows: torch.Tensor) -> dict[str, torch.Tensor]:
        said = self.labels[self.asked : self.asked + len(windows)]
        self.asked += len(windows)
        said = torch.where(said < self.task.channels, said, 0)  # beside the photograph: anything
        sure = torch.nn.functional.one_hot(said, self.task.channels).movedim(-1, 1)
        return {"parts": 10.0 * sure}


@pytest.mark.parametrize("batch", [1, 5, 8, 100])
def test_evaluation_of_the_truth_is_perfect_in_batches_of_any_size(
    shards: Path, batch: int
) -> None:
    run = replace(parts("nano", vocabulary=PARTS, **SMALL), data=(Part(path=str(shards)),))
    made = prepared(replace(run, val=run.data))
    assert made.val is not None
    evaluation = Evaluation(
        run=run, source=made.val, tasks=made.tasks, parallel=Parallel(), batch=batch
    )
    knowing = Knowing(evaluation)
    found = evaluation(knowing, 0)
    assert knowing.asked == len(knowing.labels) == 12
    assert found["parts/mIoU"] > 0.85  # not 1: windows are smaller than the photographs


@pytest.mark.parametrize(
    ("batch", "device", "world", "count"),
    [(16, None, 1, 1), (16, 4, 1, 4), (16, 4, 2, 2), (12, 5, 1, 3)],
)
def test_shares_of_a_batch(batch: int, device: int | None, world: int, count: int) -> None:
    run = replace(pose("nano", vocabulary=POINTS, **SMALL), batch=batch, per_device=device)
    assert accumulation(run, world) == count
    with pytest.raises(InputError, match="wanted a multiple of 5"):
        accumulation(run, 5)
