"""The training configuration: what it accepts, what it complains about, and where."""

from pathlib import Path

import pytest

from snncc.compiler.config.config import Config, load_config, parse_config
from snncc.compiler.config.schema import BY_PATH, KEYS
from snncc.compiler.diag import CompileError


def complaint(text: str) -> str:
    with pytest.raises(CompileError) as caught:
        parse_config(text, "c.toml")
    return str(caught.value)


def test_values_and_origins() -> None:
    config = parse_config("timesteps = 8\n[loss]\nscale = 512\n")
    assert config.integer("timesteps") == 8
    assert config.number("loss.scale") == 512.0
    assert config.origin("loss.scale") == "config"
    assert config.origin("loss.name") == "default"
    assert config.text("loss.name") == "cross-entropy"
    flagged = config.override({"loss.scale": 2.0, "timesteps": None})
    assert flagged.number("loss.scale") == 2.0
    assert flagged.origin("loss.scale") == "flag"
    assert flagged.origin("timesteps") == "config"
    assert config.number("loss.scale") == 512.0


@pytest.mark.parametrize("path", ["timesteps", "training.seed", "loss.scale", "time_axis"])
@pytest.mark.parametrize("digits", [20, 400, 4000])
def test_integers_without_bounds(path: str, digits: int) -> None:
    with pytest.raises(CompileError, match=r"E0352.*more than 64 bits"):
        Config().override({path: 10**digits})


def test_default_loss_scale_is_documented() -> None:
    assert Config().number("loss.scale") == 128.0


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("timestep = 3", "c.toml:1:1: error[E0351]", "did you mean 'timesteps'?"),
        ("[los]\nscale = 1", "c.toml:1:1: error[E0351]", "unknown section 'los'"),
        ("[loss]\n\n  scal = 1", "c.toml:3:3: error[E0351]", "unknown key 'scal' in [loss]"),
        ("[loss]\nscale = -1", "c.toml:2:1: error[E0352]", "must be above 0"),
        ("[loss]\nscale = 1e9", "c.toml:2:1: error[E0352]", "above 65504"),
        ("[loss]\nscale = inf", "c.toml:2:1: error[E0352]", "finite"),
        ("[loss]\nscale = true", "c.toml:2:1: error[E0352]", "not a number"),
        ('[loss]\nname = "mes"', "c.toml:2:1: error[E0352]", "did you mean 'mse'?"),
        ("timesteps = 0", "c.toml:1:1: error[E0352]", "below 1"),
        ("timesteps = 2.5", "c.toml:1:1: error[E0352]", "not an integer"),
        ("[optimizer]\nbetas = [0.9]", "c.toml:2:1: error[E0352]", "1 entries, not 2"),
        ("[parameters]\ntrain = [1]", "c.toml:2:1: error[E0352]", "something else than texts"),
        ('[surrogate]\nname = "atn"', "c.toml:2:1: error[E0353]", "did you mean 'atan'?"),
        ("[surrogate]\nalpha = 2", "c.toml:1:1: error[E0355]", "no name"),
        ('[surrogate]\nname = "atan"\nwidth = 2', "c.toml:3:1: error[E0351]", "parameters: alpha"),
        ('[surrogate]\nname = "atan"\nalpha = 0', "c.toml:3:1: error[E0352]", "above 0"),
        ('[reset]\ngradient = "yes"', "c.toml:2:1: error[E0352]", "attached, detached"),
        ("timesteps = = 3", "c.toml:1:13: error[E0350]", "Invalid value"),
        ("a" * 100, "c.toml: error[E0350]", "Expected"),
    ],
)
def test_complaints(text: str, place: str, words: str) -> None:
    said = complaint(text)
    assert place in said
    assert words in said


def test_all_mistakes_are_reported_at_once() -> None:
    said = complaint("a = 1\n[loss]\nb = 2\n[reset]\nc = 3\n")
    assert said.count("error[E0351]") == 3


def test_deep_nesting_is_no_traceback() -> None:
    assert "E0350" in complaint("a = " + "[" * 5000)


def test_layers_by_pattern() -> None:
    config = parse_config(
        """
        [surrogate]
        name = "atan"
        alpha = 2.0
        [surrogate."net.*"]
        name = "fast-sigmoid"
        slope = 10
        [surrogate."net.lif2"]
        name = "sigmoid"
        slope = 5
        [reset]
        gradient = "detached"
        [reset.lif1]
        gradient = "attached"
        """
    )
    assert str(config.surrogate("lif9")) == "atan(alpha=2)"
    assert str(config.surrogate("net.lif1")) == "fast-sigmoid(slope=10)"
    assert str(config.surrogate("net.lif2")) == "sigmoid(alpha=5)"
    first, other = config.reset_gradient("lif1"), config.reset_gradient("lif2")
    assert first is not None
    assert other is not None
    assert (first.value, other.value) == ("attached", "detached")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("atan", "atan(alpha=2)"),
        ("atan:3", "atan(alpha=3)"),
        ("exponential:width=0.25,scale=2", "exponential(width=0.25, scale=2)"),
        ("straight-through", "straight-through"),
    ],
)
def test_surrogate_flag(text: str, shown: str) -> None:
    found = Config().with_surrogate(text).surrogate("any")
    assert found is not None
    assert str(found) == shown
    assert found.origin == "flag"


@pytest.mark.parametrize("text", ["atn", "atan:x", "atan:alpha=-1", "atan:1,2"])
def test_bad_surrogate_flag(text: str) -> None:
    with pytest.raises(CompileError):
        Config().with_surrogate(text)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    with pytest.raises(CompileError, match="E0005"):
        load_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CompileError, match="not UTF-8"):
        load_config(path)
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(CompileError, match="larger than 1 MB"):
        load_config(path)
    path.write_text("timesteps = 4")
    assert load_config(path).integer("timesteps") == 4


def test_the_schema_is_sound() -> None:
    assert len(BY_PATH) == len(KEYS)
    for key in KEYS:
        assert key.doc
        if key.default is not None:
            Config().override({key.path: key.default})


@pytest.mark.needs_corpus
def test_reads_every_configuration_of_the_corpus(corpus: Path) -> None:
    found = sorted(corpus.glob("onnx/*/*.toml"))
    assert len(found) > 20
    for path in found:
        config = load_config(path)
        assert config.integer("timesteps")
        assert config.surrogate("any") is not None


@pytest.mark.parametrize(
    ("layer", "alpha"), [("fc1", 1.0), ("fc2", 2.0), ("fcx", 3.0), ("other", 4.0), ("zz", 5.0)]
)
def test_the_setting_of_a_layer(layer: str, alpha: float) -> None:
    """Its own name wins, whatever its length; then the longest pattern."""
    own = {"*": 4.0, "fc*": 3.0, "fc1": 1.0, "fc[0-9]": 2.0, "zz": 5.0, "[y-z]z": 6.0}
    text = "".join(
        f'[surrogate."{name}"]\nname = "atan"\nalpha = {value}\n' for name, value in own.items()
    )
    found = parse_config(text).surrogate(layer)
    assert found is not None
    assert found.params == {"alpha": alpha}


def test_limits_of_dynamic_scales() -> None:
    """Powers of two from 1 to 2 to the 24th."""
    assert Config().number("loss.minimum_scale") == 1
    assert Config().number("loss.maximum_scale") == 16_777_216
    for key in ("minimum_scale", "maximum_scale"):
        for value in (1.0, 2.0, 2.0**24):
            found = parse_config(f"[loss]\n{key} = {value}\n")
            assert found.number(f"loss.{key}") == value
        for value in (0.5, 2.0**25, 3.0):
            assert "E0352" in complaint(f"[loss]\n{key} = {value}\n")
