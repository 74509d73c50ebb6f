"""Random networks as .snn text, over all layers, blocks and neuron options."""

from __future__ import annotations

import math

import numpy as np

SURROGATES = (
    "atan(alpha=1.5)", "fast_sigmoid(10)", "sigmoid", "super_spike", "exponential(0.4, scale=2)",
    "gaussian(sigma=0.3)", "rectangular", "triangular(width=2)", "straight_through",
)  # fmt: skip


class RandomText:
    """Draws the text of a network; every choice comes from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.shape: tuple[int, ...] = ()
        self.spikes = False
        self.named: dict[str, tuple[int, ...]] = {}
        self.shorts: list[str] = []

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *choices: str) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def whole(self, low: int, high: int) -> int:
        """Return a number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def number(self, low: float, high: float) -> str:
        return f"{self.rng.uniform(low, high):.3g}"

    # ------------------------------------------------------------------ neurons
    def neuron_options(self, kind: str) -> list[str]:
        options: list[str] = []
        if kind != "if":
            options += self.leak_options()
        if kind == "synaptic" and self.chance(0.6):
            options.append(f"alpha={self.number(0.2, 0.9)}")
        if kind != "li":
            options += self.fire_options()
        self.rng.shuffle(options)
        return options

    def leak_options(self) -> list[str]:
        options: list[str] = []
        if self.chance(0.3):
            options.append(f"tau={self.number(1.5, 4)}")
        else:
            if self.chance(0.6):
                options.append(f"beta={self.number(0.3, 0.95)}")
            if self.chance(0.3):
                options.append("norm_input=true")
        if self.chance(0.3):
            options.append(f"v_rest={self.number(-0.3, 0.3)}")
        if self.chance(0.3):
            options.append("learn=true")
        return options

    def fire_options(self) -> list[str]:
        may = {
            f"threshold={self.number(0.3, 1.2)}": 0.6,
            f"reset={self.pick('subtract', 'hard', 'none')}": 0.6,
            f"reset_value={self.pick('0', '-0.2', '0.1')}": 0.4,
            f"delay={self.pick('true', 'false')}": 0.4,
            f"compare={self.pick('strict', 'non_strict')}": 0.4,
            f"surrogate={self.pick(*SURROGATES)}": 0.4,
            f"detach={self.pick('true', 'false')}": 0.5,
            f"v_min={self.pick('0', '-0.4')}": 0.3,
        }
        found = [option for option, p in may.items() if self.chance(p)]
        if self.chance(0.15) and not any(o.startswith("compare") for o in found):
            found.append("compare=multi")
        return found

    def neuron(self, *, binary: bool = False) -> str:
        """Return a neuron layer; ``binary``: one that gives zeros and ones."""
        if self.shorts and not binary and self.chance(0.3):
            self.spikes = False
            return self.pick(*self.shorts)
        kind = self.pick("lif", "lif", "if", "synaptic", *([] if binary else ["li"]))
        options = self.neuron_options(kind)
        if binary:
            options = [o for o in options if not o.startswith("compare=multi")]
        if kind != "li" and len(self.shape) < 3 and self.chance(0.25):
            options.append("recurrent=true")
        self.spikes = kind != "li" and "compare=multi" not in options
        return kind + (f"({', '.join(options)})" if options else "")

    # ------------------------------------------------------------------ layers
    def convolution(self) -> str:
        channels, *size = self.shape
        groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        out = groups * self.whole(1, 3)
        kernel = self.whole(1, min(3, *size))
        if self.chance(0.3):
            self.shape = (out, *size)
            return f"conv({out}, {kernel}, padding=same, groups={groups})"
        stride, pad = self.whole(1, 2), self.whole(0, 1)
        self.shape = (out, *((s + 2 * pad - kernel) // stride + 1 for s in size))
        bias = self.pick("", ", bias=false")
        return (
            f"conv({out}, kernel={kernel}, stride={stride}, padding={pad}, groups={groups}{bias})"
        )

    def transposed(self) -> str:
        out, kernel, stride = self.whole(1, 3), self.whole(1, 3), self.whole(1, 2)
        pad = self.whole(0, 1) if kernel > 2 else 0
        more = self.whole(0, stride - 1)
        self.shape = (
            out,
            *((s - 1) * stride + kernel - 2 * pad + more for s in self.shape[1:]),
        )
        return f"deconv({out}, {kernel}, {stride}, {pad}, output_padding={more})"

    def pool(self) -> str:
        kind, stride, pad = self.pick("maxpool", "avgpool", "sumpool"), self.whole(1, 2), 0
        pad = int(self.chance(0.3))
        self.shape = (
            self.shape[0],
            *((s + 2 * pad - 2) // stride + 1 for s in self.shape[1:]),
        )
        return f"{kind}(2, stride={stride}, padding={pad})"

    def layer(self) -> str:
        """Return a layer that fits what flows."""
        spatial = len(self.shape) in (2, 3)
        kinds = ["relu", "scale", "dropout", "position"]
        if spatial:
            kinds += ["convolution"] * 3 + ["transposed", "bn"]
            kinds += ["pool"] * (min(self.shape[1:]) >= 2)
        if len(self.shape) < 3:
            kinds += ["dense"] * 3
        self.spikes = False
        match self.pick(*kinds):
            case "convolution":
                return self.convolution()
            case "transposed":
                return self.transposed()
            case "pool":
                return self.pool()
            case "dense":
                out = self.whole(1, 6)
                self.shape = (*self.shape[:-1], out)
                return f"dense({out}{self.pick('', ', bias=false')})"
            case "scale":
                return f"scale({self.number(-1.5, 2)})"
            case "dropout":
                return f"dropout({self.number(0.1, 0.6)})"
            case "bn":
                return self.pick("bn", "bn(eps=0.01, momentum=0.2)")
            case other:
                return other

    def same_shape(self) -> str:
        """Return layers that keep the shape and end in spikes of 0 and 1."""
        if len(self.shape) == 1:
            return f"dense({self.shape[0]}) {self.neuron(binary=True)}"
        return f"conv({self.shape[0]}, padding=same) {self.neuron(binary=True)}"

    def block(self) -> str:
        """Return a block that fits what flows."""
        kind = self.pick("repeat", "residual", "spiking", "concat", "names", "attention")
        if kind == "repeat":
            return f"repeat(2) {{ {self.same_shape()} }}"
        if kind == "residual":
            self.spikes = False
            return f"residual {{ {self.same_shape()} }}"
        if kind == "spiking":
            first, second = self.same_shape(), self.same_shape()
            mode = self.pick("and", "or", "iand", "add")
            return f"residual(mode={mode}) {{ {first} }} {{ {second} }}"
        if kind == "concat":
            first, second = self.same_shape(), self.pick("relu", "scale(2)")
            self.shape = (self.shape[0] * 2, *self.shape[1:])
            self.spikes = False
            return f"concat {{ {first} }} {{ {second} }}"
        if kind == "names":
            name = f"v{len(self.named)}"
            fitting = [n for n, s in self.named.items() if s == self.shape]
            self.named[name] = self.shape
            first = f"{name} = {self.neuron()}"
            return first + (f" add({self.pick(*fitting)})" if fitting else f" add({name})")
        if len(self.shape) == 2 and self.shape[0] % 2 == 0:
            neuron = self.neuron(binary=True).replace(", recurrent=true", "")
            neuron = neuron.replace("(recurrent=true)", "")
            return f"attention(heads=2, scale={self.number(0.1, 0.5)}) {{ {neuron} }}"
        return self.neuron()

    def head(self) -> str:
        if len(self.shape) > 1 and self.chance(0.3):
            self.shape = self.shape[:1]
            text = f"globalpool({self.pick('mean', 'sum', 'max')}) "
        else:
            self.shape = (math.prod(self.shape),)
            text = "flatten "
        if self.chance(0.3):
            return f"{text}dense(6) {self.neuron()} vote(3)"
        return f"{text}dense({self.whole(2, 4)}) {self.neuron()}"

    def build(self) -> str:
        """Draw the network."""
        rank = self.whole(0, 2)
        self.shape = (self.whole(1, 4), *(self.whole(3, 6) for _ in range(rank)))
        static = self.chance(0.3)
        lines = [
            f"input({'x'.join(map(str, self.shape))}, steps={self.whole(2, 5)}, batch=2"
            f"{', static=true' if static else ''})",
            f"init(seed={self.whole(0, 9)}, gain={self.number(0.8, 2.5)})",
            f"let fire = {self.neuron(binary=True).replace(', recurrent=true', '')}",
        ]
        self.shorts = ["fire", f"fire(threshold={self.number(0.2, 0.9)})"]
        for _ in range(self.whole(1, 5)):
            lines.append(self.block() if self.chance(0.4) else self.layer())
            if self.chance(0.5):
                lines.append(self.neuron())
            if len(self.shape) == 3 and self.chance(0.2):
                lines.append("tokens")
                self.shape = (self.shape[0], math.prod(self.shape[1:]))
            if self.chance(0.1):
                lines.append(f"output(side{len(lines)})")
        lines.append(self.head())
        lines.append("output(main)")
        return "\n".join(lines)


def random_text(seed: int) -> str:
    """Return the text of a small random network."""
    return RandomText(seed).build()
