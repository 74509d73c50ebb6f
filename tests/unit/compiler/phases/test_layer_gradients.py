"""Values and gradients of every layer against PyTorch autograd in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lowered import phased
from pytorch_results import Arrays, PyTorch, with_gradients
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Value
from strategies_networks import Net

T, B = 3, 2

Build = Callable[[Net, Value, dict[str, Any]], Value]
Same = Callable[[Any, Any, dict[str, Any]], Any]  # torch, x with time folded into batch, params


def agree(found: Arrays, want: Arrays, rtol: float = 1e-7) -> None:
    """Compare all that PyTorch computed."""
    assert "loss" in want
    assert any(k.startswith("grad/") for k in want)
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-9, err_msg=name)


def _named(net: Net, params: dict[str, Any], *names: str) -> list[Value]:
    return [net.param(n, params[n]) for n in names]


def _attr(op: str, *names: str, **attrs: Any) -> Build:
    def build(net: Net, x: Value, params: dict[str, Any]) -> Value:
        return net.b.one(op, x, *_named(net, params, *names), **attrs)

    return build


BROADCAST: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda torch, a, b: a + b,
    "sub": lambda torch, a, b: a - b,
    "mul": lambda torch, a, b: a * b,
    "div": lambda torch, a, b: a / b,
    "min": lambda torch, a, b: torch.minimum(a, b),
    "max": lambda torch, a, b: torch.maximum(a, b),
}
POSITIVE = ("sqrt", "log", "log2", "rsqrt")
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x,
    "abs": lambda x: x.abs(),
    "sign": lambda x: x.sign() + 0 * x,
    "sqrt": lambda x: x.sqrt(),
    "exp": lambda x: x.exp(),
    "exp2": lambda x: x.exp2(),
    "log": lambda x: x.log(),
    "log2": lambda x: x.log2(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "rsqrt": lambda x: x.rsqrt(),
    "recip": lambda x: 1 / x,
    "atan": lambda x: x.atan(),
    "erf": lambda x: x.erf(),
    "softplus": lambda x: x.exp().log1p(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
}


def _broadcast(name: str) -> Same:
    return lambda torch, x, p: BROADCAST[name](torch, x, p["w"])


def _unary(fn: str) -> tuple[Build, Same]:
    positive = fn in POSITIVE

    def build(net: Net, x: Value, params: dict[str, Any]) -> Value:
        inner = net.b.one("graph.unary", x, fn="abs") if positive else x
        return net.b.one("graph.unary", inner, fn=fn)

    return build, lambda torch, x, p: UNARY[fn](x.abs() if positive else x)


CASES: dict[str, tuple[tuple[int, ...], dict[str, tuple[int, ...]], Build, Same]] = {
    "linear": (
        (5,), {"w": (5, 4), "b": (4,)}, _attr("graph.linear", "w", "b"),
        lambda torch, x, p: x @ p["w"] + p["b"],
    ),
    "linear-3d": (
        (3, 5), {"w": (5, 4), "b": (4,)}, _attr("graph.linear", "w", "b"),
        lambda torch, x, p: x @ p["w"] + p["b"],
    ),
    "conv2d": (
        (4, 6, 7), {"w": (6, 4, 3, 2), "b": (6,)},
        _attr("graph.conv", "w", "b", rank=2, stride=(2, 1), padding=(1, 0, 1, 0),
              dilation=(1, 2)),
        lambda torch, x, p: torch.nn.functional.conv2d(
            x, p["w"], p["b"], stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    ),
    "conv2d-uneven-padding": (
        (3, 5, 5), {"w": (2, 3, 3, 3)},
        _attr("graph.conv", "w", rank=2, stride=(1, 1), padding=(2, 0, 1, 3)),
        lambda torch, x, p: torch.nn.functional.conv2d(
            torch.nn.functional.pad(x, (0, 3, 2, 1)), p["w"]),
    ),
    "conv2d-groups": (
        (4, 5, 5), {"w": (6, 2, 3, 3), "b": (6,)},
        _attr("graph.conv", "w", "b", rank=2, padding=(1, 1, 1, 1), groups=2),
        lambda torch, x, p: torch.nn.functional.conv2d(x, p["w"], p["b"], padding=1, groups=2),
    ),
    "conv2d-many-channels": (
        (35, 3, 3), {"w": (18, 35, 2, 2)}, _attr("graph.conv", "w", rank=2),
        lambda torch, x, p: torch.nn.functional.conv2d(x, p["w"]),
    ),
    "conv1d": (
        (3, 9), {"w": (4, 3, 3), "b": (4,)},
        _attr("graph.conv", "w", "b", rank=1, stride=(2,), padding=(1, 1)),
        lambda torch, x, p: torch.nn.functional.conv1d(x, p["w"], p["b"], stride=2, padding=1),
    ),
    "conv-transpose": (
        (4, 3, 4), {"w": (4, 3, 3, 3), "b": (6,)},
        _attr("graph.conv_transpose", "w", "b", rank=2, stride=(2, 2), padding=(1, 1, 1, 1),
              output_padding=(1, 0), groups=2),
        lambda torch, x, p: torch.nn.functional.conv_transpose2d(
            x, p["w"], p["b"], stride=2, padding=1, output_padding=(1, 0), groups=2),
    ),
    "max-pool": (
        (3, 6, 7), {},
        _attr("graph.pool", kind="max", kernel=(3, 2), stride=(2, 2), padding=(1, 0, 1, 0)),
        lambda torch, x, p: torch.nn.functional.max_pool2d(x, (3, 2), 2, (1, 0)),
    ),
    "avg-pool": (
        (3, 6, 6), {}, _attr("graph.pool", kind="avg", kernel=(3, 3), stride=(2, 2),
                             padding=(1, 1, 1, 1)),
        lambda torch, x, p: torch.nn.functional.avg_pool2d(x, 3, 2, 1),
    ),
    "avg-pool-without-padding": (
        (3, 6, 6), {}, _attr("graph.pool", kind="avg", kernel=(3, 3), stride=(2, 2),
                             padding=(1, 1, 1, 1), count_pad=False),
        lambda torch, x, p: torch.nn.functional.avg_pool2d(
            x, 3, 2, 1, count_include_pad=False),
    ),
    "sum-pool": (
        (3, 4, 4), {}, _attr("graph.pool", kind="sum", kernel=(2, 2), stride=(2, 2)),
        lambda torch, x, p: 4 * torch.nn.functional.avg_pool2d(x, 2),
    ),
    "global-average": (
        (3, 4, 4), {}, _attr("graph.reduce", kind="mean", axes=(2, 3)),
        lambda torch, x, p: x.mean((2, 3)),
    ),
    "reduce-sum-keepdims": (
        (3, 4), {}, _attr("graph.reduce", kind="sum", axes=(1,), keepdims=True),
        lambda torch, x, p: x.sum(1, keepdim=True),
    ),
    "reduce-max": (
        (3, 4), {}, _attr("graph.reduce", kind="max", axes=(2,)),
        lambda torch, x, p: x.amax(2),
    ),
    **{
        f"{name}-broadcast": (
            (3, 4, 4), {"w": (3, 1, 1)}, _attr(f"graph.{name}", "w"), _broadcast(name)
        )
        for name in BROADCAST
    },
    **{f"unary-{fn}": ((4,), {}, *_unary(fn)) for fn in UNARY},
    "relu": ((5,), {}, _attr("graph.relu"), lambda torch, x, p: torch.relu(x)),
    "clip": (
        (5,), {}, _attr("graph.clip", low=-0.5, high=0.4),
        lambda torch, x, p: torch.clamp(x, -0.5, 0.4),
    ),
    "softmax": (
        (3, 5), {}, _attr("graph.softmax", axis=1), lambda torch, x, p: torch.softmax(x, 1),
    ),
    "matmul": (
        (3, 4), {"w": (4, 5)}, _attr("graph.matmul", "w"), lambda torch, x, p: x @ p["w"],
    ),
    "matmul-transposed": (
        (2, 3, 4), {"w": (2, 5, 3)},
        _attr("graph.matmul", "w", transpose_a=True, transpose_b=True),
        lambda torch, x, p: x.transpose(-1, -2) @ p["w"].transpose(-1, -2),
    ),
    "matmul-self": (
        (3, 4), {}, lambda net, x, p: net.b.one("graph.matmul", x, x, transpose_b=True),
        lambda torch, x, p: x @ x.transpose(-1, -2),
    ),
    "reshape-transpose": (
        (3, 4, 2), {},
        lambda net, x, p: net.b.one(
            "graph.transpose", net.b.one("graph.reshape", x, shape=(B, 6, 4)), perm=(0, 2, 1)),
        lambda torch, x, p: x.reshape(-1, 6, 4).transpose(1, 2),
    ),
    "concat": (
        (3, 4), {},
        lambda net, x, p: net.b.one(
            "graph.concat", x, net.b.one("graph.relu", x), x, axis=1),
        lambda torch, x, p: torch.cat([x, torch.relu(x), x], 1),
    ),
    "slice": (
        (4, 5), {}, _attr("graph.slice", starts=(0, 1, 0), ends=(B, 3, 5)),
        lambda torch, x, p: x[:, 1:3],
    ),
    "slice-strided": (
        (7, 5), {}, _attr("graph.slice", starts=(0, 1, 0), ends=(B, 7, 4), strides=(1, 3, 2)),
        lambda torch, x, p: x[:, 1:7:3, 0:4:2],
    ),
    "pad": (
        (3, 4), {}, _attr("graph.pad", low=(0, 1, 0), high=(0, 0, 2), value=0.5),
        lambda torch, x, p: torch.nn.functional.pad(x, (0, 2, 1, 0), value=0.5),
    ),
    "expand": (
        (1, 4), {}, _attr("graph.expand", shape=(B, 3, 4)),
        lambda torch, x, p: x.expand(-1, 3, 4),
    ),
    "residual": (
        (4,), {"w": (4, 4)},
        lambda net, x, p: net.b.one(
            "graph.add", net.b.one("graph.linear", x, net.param("w", p["w"])), x),
        lambda torch, x, p: x @ p["w"] + x,
    ),
}  # fmt: skip


def _leaf(torch: Any, a: Any) -> Any:
    return torch.tensor(np.float64(np.float32(a)), requires_grad=True)


@pytest.mark.parametrize("static", [False, True], ids=["seq", "tensor"])
@pytest.mark.parametrize("case", CASES)
def test_layer(case: str, static: bool, pytorch: PyTorch) -> None:
    shape, shapes, build, same = CASES[case]
    rng = np.random.default_rng(len(case))
    params = {k: rng.normal(size=s) for k, s in shapes.items()}
    gate, x = rng.normal(size=(B, *shape)), rng.normal(size=(T, B, *shape))
    y = rng.integers(0, 3, B)
    net = Net(T, B)
    arg = net.input(shape, static=static)
    z = build(net, net.b.one("graph.mul", arg, net.param("gate", gate)), params)
    size = int(np.prod(z.type.step_shape[1:]))
    head = rng.normal(size=(size, 3)) / size**0.5
    flat = net.b.one("graph.reshape", z, shape=(B, size))
    net.output(net.linear(flat, "head", head))
    module = net.train(reduce="none" if static else "mean")
    found = evaluate(phased(module), "step", {"x": x[0] if static else x, "y": y}, "float64")

    def autograd(torch: Any) -> Arrays:
        tp = {k: _leaf(torch, v) for k, v in params.items()}
        tg, th = _leaf(torch, gate), _leaf(torch, head)
        folded = torch.tensor(x[:1] if static else x) * tg
        out = same(torch, folded.reshape(-1, *shape), tp).reshape(-1, B, size) @ th
        loss = torch.nn.functional.cross_entropy(out.mean(0), torch.tensor(y))
        return with_gradients(loss, {**tp, "gate": tg, "head.weight": th})

    agree(found, pytorch({"x": x, "y": y, "gate": gate, "head": head, **params}, autograd))


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.parametrize("spatial", [(), (4, 3)])
def test_batch_normalisation(
    statistics: str, spatial: tuple[int, ...], per_step: bool, pytorch: PyTorch
) -> None:
    rng = np.random.default_rng(3)
    x, gate = rng.normal(size=(T, B, 3, *spatial)), rng.normal(size=(B, 3, *spatial))
    values = {"scale": rng.normal(size=3), "shift": rng.normal(size=3),
              "mean": rng.normal(size=3), "var": rng.uniform(0.5, 2, 3)}  # fmt: skip
    y = rng.integers(0, 3, B)
    net = Net(T, B)
    h = net.b.one("graph.mul", net.input((3, *spatial)), net.param("gate", gate))
    parts = [net.param(k, v, k, train=k in ("scale", "shift")) for k, v in values.items()]
    z = net.b.one("graph.batchnorm", h, *parts, eps=1e-5, axis=1, momentum=0.1,
                  per_step=per_step)  # fmt: skip
    size = int(np.prod(z.type.step_shape[1:]))
    head = rng.normal(size=(size, 3))
    net.output(net.linear(net.b.one("graph.reshape", z, shape=(B, size)), "head", head))
    module = net.train(reduce="mean", batchnorm={"statistics": statistics},
                       optimizer={"name": "sgd", "lr": 0.1})  # fmt: skip
    found = evaluate(phased(module), "step", {"x": x, "y": y}, "float64")

    def autograd(torch: Any) -> Arrays:
        t = {k: _leaf(torch, v) for k, v in values.items()}
        mean, var = t["mean"].detach().clone(), t["var"].detach().clone()
        tg, th = _leaf(torch, gate), _leaf(torch, head)
        gated = torch.tensor(x) * tg
        calls = gated if per_step else [gated.reshape(-1, 3, *spatial)]  # of the module
        z_ = torch.stack([
            torch.nn.functional.batch_norm(
                each, mean, var, t["scale"], t["shift"], statistics == "batch", 0.1, 1e-5
            )
            for each in calls
        ])  # fmt: skip
        out = z_.reshape(T, B, size) @ th
        loss = torch.nn.functional.cross_entropy(out.mean(0), torch.tensor(y))
        leaves = {"scale": t["scale"], "shift": t["shift"], "gate": tg}
        moved = {"param/mean": mean, "param/var": var} if statistics == "batch" else {}
        return {**with_gradients(loss, leaves), **moved}

    want = pytorch({"x": x, "y": y, "gate": gate, "head": head, **values}, autograd)
    agree(found, want)
    for name in ("param/mean", "param/var"):
        assert (name in found) == (name in want) == (statistics == "batch")


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "last", "per-step"])
def test_readouts_and_losses(reduce: str, loss: str, pytorch: PyTorch) -> None:
    rng = np.random.default_rng(5)
    x, w, y = rng.normal(size=(T, B, 4)), rng.normal(size=(4, 3)), rng.integers(0, 3, B)
    net = Net(T, B)
    net.output(net.linear(net.input((4,)), "fc", w))
    module = net.train(reduce=reduce, loss=loss, scale=8.0)
    found = evaluate(phased(module), "step", {"x": x, "y": y}, "float64")

    reductions: dict[str, Callable[[Any], Any]] = {
        "sum": lambda o: o.sum(0), "mean": lambda o: o.mean(0),
        "max": lambda o: o.max(0).values, "last": lambda o: o[-1], "per-step": lambda o: o,
    }  # fmt: skip

    def autograd(torch: Any) -> Arrays:
        tw, ty = _leaf(torch, w), torch.tensor(y)
        logits = reductions[reduce](torch.tensor(x) @ tw)
        rows = logits if reduce == "per-step" else logits[None]
        hot = torch.nn.functional.one_hot(ty, 3).double()
        total: Any = sum(
            torch.nn.functional.cross_entropy(r, ty) if loss == "cross-entropy"
            else torch.nn.functional.mse_loss(r, hot) for r in rows
        )  # fmt: skip
        return {**with_gradients(total, {"fc.weight": tw}), "logits": logits}

    agree(found, pytorch({"x": x, "y": y, "w": w}, autograd))


def test_dropout_keeps_and_scales() -> None:
    rng = np.random.default_rng(6)
    x, w, y = rng.normal(size=(T, B, 40)), rng.normal(size=(40, 3)), rng.integers(0, 3, B)
    net = Net(T, B)
    z = net.b.one("graph.dropout", net.input((40,)), rate=0.25, stream=3)
    net.output(z, "dropped")
    net.output(net.linear(z, "fc", w))
    found = evaluate(phased(net.train()), "step", {"x": x, "y": y}, "float64", seed=11)
    again = evaluate(phased(net.train()), "step", {"x": x, "y": y}, "float64", seed=11)
    other = evaluate(phased(net.train()), "step", {"x": x, "y": y}, "float64", seed=12)
    z_ = found["out/dropped"]
    kept = z_ != 0
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(z_[kept], (x / 0.75)[kept], rtol=1e-12)
    np.testing.assert_array_equal(z_, again["out/dropped"])
    assert (z_ != other["out/dropped"]).any()


@pytest.mark.parametrize("gradient", ["attached", "detached"])
@pytest.mark.parametrize("synapse", ["none", "after"])
def test_recurrent_layer(gradient: str, synapse: str, pytorch: PyTorch) -> None:
    """Spikes fed back through a weight one step later: a delay, a linear layer, a neuron."""
    steps, n = 6, 4
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(steps, B, 3)), rng.integers(0, 3, B)
    w, r, rb, head = (rng.normal(size=s) for s in ((3, n), (n, n), (n,), (n, 3)))
    net = Net(steps, B)
    current = net.linear(net.input((3,)), "in", w)
    back = net.b.one("graph.delay", state="s", shape=(B, n), dtype="bit", steps=steps)
    feedback = net.linear(back, "rec", r, rb)
    total = net.b.one("graph.add", current, feedback)
    spikes, _ = net.neuron(total, "lif", None, reset_gradient=gradient, threshold=0.7,
                           synapse=synapse, a_syn=0.5)  # fmt: skip
    net.b.op("graph.delay_next", spikes, state="s")
    net.output(net.linear(spikes, "head", head))
    found = evaluate(phased(net.train()), "step", {"x": x, "y": y}, "float64")

    def autograd(torch: Any) -> Arrays:
        from unit.compiler.phases.torch_neuron import Spike

        tw, tr, tb, th = (_leaf(torch, a) for a in (w, r, rb, head))
        spec = {"name": "atan", "alpha": 2.0}
        v, i, s, out = torch.zeros(B, n).double(), 0.0, torch.zeros(B, n).double(), 0.0
        for xt in torch.tensor(x):
            c = xt @ tw + (s @ tr + tb)
            if synapse == "after":
                c = i + c
                i = 0.5 * c
            h = 0.9 * v + c
            s = Spike.apply(h, torch.tensor(0.7, dtype=torch.float64), "strict", spec)
            v = h - (s if gradient == "attached" else s.detach()) * 0.7
            out = out + s @ th
        loss = torch.nn.functional.cross_entropy(out, torch.tensor(y))
        leaves = {"in.weight": tw, "rec.weight": tr, "rec.bias": tb, "head.weight": th}
        return with_gradients(loss, leaves)

    agree(found, pytorch({"x": x, "y": y, "w": w, "r": r, "rb": rb, "head": head}, autograd))
