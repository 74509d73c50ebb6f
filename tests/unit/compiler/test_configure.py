"""The configure pass: what it writes, what wins, what it complains about."""

from typing import Any

import numpy as np
import pytest

from snncc.compiler.config.config import Config, parse_config
from snncc.compiler.diag import CompileError, DiagnosticSink
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Block, Func, Location, Module, Op, seq, tensor
from snncc.compiler.ir.verify import verify
from snncc.compiler.passes.graph.configure import configure, warn_of_unused_settings
from snncc.compiler.passes.graph.kit.spike_input import spike_input
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import PassManager
from snncc.compiler.pipeline.plan import plan

NEURON = {
    "dynamics": "leaky",
    "beta": 0.9,
    "threshold": 1.0,
    "reset": "subtract",
    "compare": "strict",
    "delay": True,
}


def graph(**extra: object) -> Module:
    """x -> linear -> lif1 -> linear -> lif2 -> outputs spk, mem."""
    import numpy as np

    body = Block()
    x = body.add_arg(seq((5, 4, 8)), "x")
    module = Module(
        "m", {"stage": "graph", "steps": 5, "batch": 4}, {}, {"main": Func("main", body)}
    )
    b = Builder(body, Location("m.onnx:/net"))
    value = mem = x
    for i, (n, m) in enumerate(((8, 6), (6, 3)), 1):
        module.resources[f"w{i}"] = np.zeros((n, m), np.float32)
        w = b.op("graph.param", types=[tensor((n, m))], name=f"fc{i}.weight", resource=f"w{i}",
                 role="weight", train=True).result  # fmt: skip
        cur = b.one("graph.linear", value, w)
        attrs = {**NEURON, **(extra if i == 1 else {})}
        op = b.op("graph.neuron", cur, attrs={**attrs, "layer": f"lif{i}"})  # type: ignore[dict-item]
        value, mem = op.results
    b.op("graph.output", value, name="spk", axis=0)
    b.op("graph.output", mem, name="mem", axis=0)
    return module


def neurons(module: Module) -> list[Op]:
    return [op for op in module.walk() if op.name == "graph.neuron"]


def test_defaults() -> None:
    module = graph()
    configure(module, Config())
    first = neurons(module)[0]
    assert first.attrs["surrogate"] == {"name": "atan", "alpha": 2.0}
    assert first.attrs["reset_gradient"] == "detached"
    assert first.attrs["origin"] == {"surrogate": "default", "reset_gradient": "default"}
    training = module.attrs["training"]
    assert isinstance(training, dict)
    assert training["loss"] == {"name": "cross-entropy", "scale": 128.0}
    assert training["readout"] == {"output": "spk", "reduce": "sum", "axis": 0}
    assert "optimizer" not in training


def test_configuration_wins_over_metadata_and_metadata_over_default() -> None:
    meta = {
        "surrogate": {"name": "super_spike", "alpha": 1.0},
        "reset_gradient": "attached",
        "origin": {"surrogate": "metadata", "reset_gradient": "metadata"},
    }
    module = graph(**meta)
    configure(module, Config())
    first, second = neurons(module)
    assert first.attrs["surrogate"] == {"name": "super_spike", "alpha": 1.0}
    assert first.attrs["reset_gradient"] == "attached"
    assert second.attrs["reset_gradient"] == "detached"
    module = graph(**meta)
    text = '[surrogate]\nname = "fast-sigmoid"\nslope = 10\n[reset.lif1]\ngradient = "detached"'
    configure(module, parse_config(text))
    first, second = neurons(module)
    assert first.attrs["surrogate"] == {"name": "fast_sigmoid", "slope": 10.0}
    assert first.attrs["origin"] == {"surrogate": "config", "reset_gradient": "config"}
    assert second.attrs["origin"] == {"surrogate": "config", "reset_gradient": "default"}


def test_membrane_readout_takes_the_last_step() -> None:
    module = graph()
    configure(module, parse_config('[readout]\noutput = "mem"'))
    training = module.attrs["training"]
    assert isinstance(training, dict)
    assert training["readout"] == {"output": "mem", "reduce": "last", "axis": 0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name = "sgd"', {"name": "sgd", "lr": 0.1}),
        ('name = "sgd"\nmomentum = 0.5', {"name": "momentum", "momentum": 0.5, "lr": 0.1}),
        ('name = "momentum"', {"name": "momentum", "momentum": 0.9, "nesterov": False}),
        ('name = "adam"', {"name": "adam", "lr": 0.001, "betas": (0.9, 0.999)}),
    ],
)
def test_optimizers(text: str, expected: dict[str, object]) -> None:
    module = graph()
    configure(module, parse_config(f"[optimizer]\n{text}"))
    training = module.attrs["training"]
    assert isinstance(training, dict)
    made = training["optimizer"]
    assert isinstance(made, dict)
    assert expected.items() <= made.items()
    assert made["weights"] == "fp16"


def test_train_and_freeze() -> None:
    module = graph()
    configure(module, parse_config('[parameters]\nfreeze = ["fc1.*"]'))
    params = {
        op.str_attr("name"): op.attrs["train"] for op in module.walk() if op.name[-5:] == "param"
    }
    assert params == {"fc1.weight": False, "fc2.weight": True}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[readout]\noutput = "spike"', "no output 'spike'"),
        ('[surrogate.lif3]\nname = "atan"', "names no neuron layer"),
        ('[reset."x*"]\ngradient = "attached"', "layers: lif1, lif2"),
        ('[parameters]\ntrain = ["fc3.weight"]', "names no parameter"),
        ("[training]\nmicrobatch = 3", "does not divide the batch of 4"),
    ],
)
def test_configurations_that_do_not_fit(text: str, words: str) -> None:
    with pytest.raises(CompileError) as caught:
        configure(graph(), parse_config(text, "c.toml"))
    assert "E0354" in str(caught.value)
    assert words in str(caught.value)


def test_inference_needs_no_loss() -> None:
    module = graph()
    configure(module, Config(), "infer")
    assert module.attrs["training"] == {"mode": "infer"}


def test_as_a_pass_twice() -> None:
    module = graph()
    context = PassContext(config=Config())
    assert PassManager(plan("configure", "graph"), context).run(module)
    assert not PassManager(plan("configure", "graph"), context).run(module)


def test_spike_input_is_packed() -> None:
    module = graph()
    assert spike_input(module)
    assert not spike_input(module)
    assert module.func("main").body.args[0].type == seq((5, 4, 8), "bit")
    verify(module)
    context = PassContext(config=parse_config("[input]\nspikes = true"))
    module = graph()
    PassManager(plan("configure", "graph"), context).run(module)
    assert module.func("main").body.args[0].type.dtype == "bit"


def loose(delay_type: str, reset: str) -> Module:
    """A neuron left as arithmetic: h = x + v, s = h > 1, and v from h and a reset by s."""
    shape = (5, 4, 8)
    body = Block()
    x = body.add_arg(seq(shape), "x")
    module = Module(
        "m", {"stage": "graph", "steps": 5, "batch": 4}, {}, {"main": Func("main", body)}
    )
    b = Builder(body, Location("m.onnx:/net"))
    common: dict[str, Any] = {"shape": shape[1:], "steps": 5}
    v = b.op("graph.delay", types=[seq(shape)], state="v", dtype="f16", init=0.0, **common).result
    s = None
    if delay_type == "delayed":
        s = b.op("graph.delay", types=[seq(shape, "bit")], state="s", dtype="bit", **common).result
    one = b.op("graph.const", types=[tensor(())], value=1.0).result
    h = b.one("graph.add", x, v)
    if s is None:
        s = b.one("graph.spike", h, one, compare="strict", layer="lif")
    if reset == "subtract":
        w = b.one("graph.sub", h, b.one("graph.mul", s, one))
    elif reset == "multiply":
        w = b.one("graph.mul", b.one("graph.sub", one, s), h)
    elif reset == "add":  # an adaptation
        w = b.one("graph.add", h, b.one("graph.mul", s, one))
    else:  # a one-to-one synapse, no reset
        attrs: dict[str, Any] = {"name": "w", "resource": "w", "role": "weight", "train": True}
        module.resources["w"] = np.ones(8, np.float32)
        scale = b.op("graph.param", types=[tensor((8,))], attrs=attrs).result
        w = b.one("graph.add", h, b.one("graph.mul", s, scale))
    if delay_type == "delayed":
        spikes = b.one("graph.spike", w, one, compare="strict", layer="lif")
        b.op("graph.delay_next", spikes, state="s")
    else:
        spikes = s
    b.op("graph.delay_next", w, state="v")
    b.op("graph.output", spikes, name="spk", axis=0)
    return module


@pytest.mark.parametrize("when", ["delayed", "immediate"])
@pytest.mark.parametrize("reset", ["subtract", "multiply", "add", "synapse"])
@pytest.mark.parametrize("gradient", ["attached", "detached"])
def test_resets_of_neurons_left_as_arithmetic(when: str, reset: str, gradient: str) -> None:
    module = loose(when, reset)
    config = parse_config(f'[reset]\ngradient = "{gradient}"\n', "c.toml")
    cut: list[Op] = []
    for _ in range(2):  # a second time changes nothing
        configure(module, config)
        verify(module)
        cut = [op for op in module.walk() if op.name == "graph.stop_gradient"]
        assert len(cut) == (gradient == "detached" and reset != "synapse")
    assert all(isinstance(op.operands[0].owner, Op) for op in cut)


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        ('name = "sgd"\nbetas = [0.8, 0.9]', ["betas"]),
        ('name = "adam"\nmomentum = 0.9\nnesterov = true', ["momentum", "nesterov"]),
        ('name = "sgd"\nmomentum = 0.9\nnesterov = true', []),
        ('name = "sgd"\nmomentum = 0', []),
        ('name = "adam"\neps = 1e-3', []),
    ],
)
def test_settings_of_other_optimizers_are_told(text: str, unused: list[str]) -> None:
    sink = DiagnosticSink()
    warn_of_unused_settings(parse_config(f"[optimizer]\n{text}"), sink)
    assert [d.code for d in sink.warnings] == ["E0378"] * len(unused)
    assert [str(d).split("optimizer.")[1].split()[0] for d in sink.warnings] == unused
