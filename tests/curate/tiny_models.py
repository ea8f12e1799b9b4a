# SPDX-License-Identifier: Apache-2.0
"""Models of toy size with random weights, saved as any hub folder is."""

import json
from pathlib import Path


def detector(folder: Path) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrV2Config(
        backbone_config=backbone, encoder_in_channels=[16, 16, 16], d_model=16, num_queries=12,
        encoder_hidden_dim=16, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, decoder_in_channels=[16, 16, 16],
        id2label={0: "person", 1: "chair"}, label2id={"person": 0, "chair": 1},
    )  # fmt: skip
    transformers.RTDetrV2ForObjectDetection(config).save_pretrained(folder)
    settings = {"size": {"height": 64, "width": 64}, "do_normalize": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def clip(folder: Path) -> Path:
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    words = [
        "<pad>",
        "<eos>",
        "<unk>",
        *["a", "photo", "of", "person", "drawing", "toy", "watermark", "text"],
    ]
    tokens = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}
    config = transformers.CLIPConfig(
        text_config={
            **layers, "intermediate_size": 32, "vocab_size": len(words), "eos_token_id": 1,
            "bos_token_id": 1, "pad_token_id": 0, "max_position_embeddings": 8,
        },
        vision_config={**layers, "intermediate_size": 32, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(folder)
    settings = {
        "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True, "resample": 3, "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "do_rescale": True,
        "do_normalize": True, "rescale_factor": 1 / 255, "do_convert_rgb": True,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
