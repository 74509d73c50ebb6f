"""What a configuration says about the step as a whole, as the graph module holds it."""

import pytest

from snncc.compiler.config.config import parse_config
from snncc.compiler.passes.graph.configure import training_attributes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {"seed": 0, "rounding": "nearest", "loss": {"name": "cross-entropy", "scale": 128.0}}),
        ("[weights]\nseed = 7", {"seed": 7}),
        ('[weights]\nrounding = "stochastic"\nseed = 2147483647',
         {"seed": 2147483647, "rounding": "stochastic"}),
        ("[training]\nmicrobatch = 2", {"microbatch": 2}),
        ('[loss]\nscale = "dynamic"\ninitial_scale = 1024',
         {"loss": {"name": "cross-entropy", "scale": 1024.0, "dynamic": True}}),
        ('[loss]\nname = "huber"\ndelta = 0.5',
         {"loss": {"name": "huber", "scale": 128.0, "delta": 0.5}}),
    ],
)  # fmt: skip
def test_training(text: str, found: dict[str, object]) -> None:
    made = training_attributes(parse_config(text), "train")
    assert {key: made[key] for key in found} == found
    assert made["mode"] == "train"
    assert ("microbatch" in made) == ("microbatch" in text)
    assert "optimizer" not in made


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_statistics_of_batches_concern_both_modes(mode: str) -> None:
    made = training_attributes(parse_config('[batchnorm]\nstatistics = "running"'), mode)
    assert made["batchnorm"] == {"statistics": "running"}
    assert ("loss" in made) == (mode == "train")
    assert "batchnorm" not in training_attributes(parse_config(""), mode)
