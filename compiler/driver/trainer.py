"""The training loop on a simulated chip: batches, evaluation, checkpoints, metrics.

Samples are shuffled anew each epoch by a counter-based generator (seed, epoch), so epoch 7 is the
same whether or not the run was interrupted before it.  An epoch takes whole batches only; the rest
(fewer samples than a batch) is left out, other samples each time.  Evaluation pads its last batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.driver.files import make_folder, npz_bytes, read_npz, write_bytes
from snncc.compiler.driver.identity import Identity, differences
from snncc.compiler.driver.scoring import Scorer

Array: TypeAlias = npt.NDArray[Any]
CHECKPOINT = "checkpoint.npz"
METRICS = "metrics.jsonl"
WEIGHTS = "weights.npz"
_INFO = "info"


@dataclass(frozen=True, slots=True)
class Data:
    """Samples first, in the model's own layout; test arrays may be empty."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


@dataclass(slots=True)
class Costs:
    """What the simulated chip spent."""

    cycles: int = 0
    seconds: float = 0.0
    energy_pj: float = 0.0
    dram_bytes: int = 0

    def add(self, stats: Mapping[str, Any]) -> None:
        """Add what a step cost."""
        self.cycles += int(stats["cycles"])
        self.seconds += float(stats["seconds"])
        self.energy_pj += float(stats["energy_pj"]["total"])
        self.dram_bytes += sum(int(v) for v in stats["dram_bytes"].values())


class Learner(Protocol):
    """A training program with its state (weights, momenta)."""

    def step(self, x: Array, y: Array, number: int) -> tuple[float, Array]:
        """Run a training step; return the loss and the logits.

        ``number`` counts the steps of the whole run from 0; random bits depend on it.
        """
        ...

    def predict(self, x: Array) -> Array:
        """Return the logits of a batch without learning."""
        ...

    def state(self) -> dict[str, Array]:
        """Return everything that the next step depends on."""
        ...

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a state."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Return what the last training step cost: ``cycles``, ``seconds``, ``energy_pj.total``,
        ``dram_bytes``.

        With a dynamic loss scale also ``loss_scale`` (of the next step) and ``skipped`` (0 or 1).
        """
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes a run: two runs with equal plans, data and programs give equal bits."""

    epochs: int
    batch: int
    seed: int = 0
    sample_axis: int = 0
    target_axis: int = 0
    """The axis of the samples in a batch of targets."""
    scorer: Scorer | None = field(default_factory=Scorer)
    """How labels are counted that are right; None where targets are no classes."""
    identity: Identity = field(default_factory=Identity)
    """Model, data and configuration; a checkpoint of other ones is refused."""


@dataclass(slots=True)
class Metrics:
    """One line of metrics.jsonl: an epoch."""

    epoch: int
    step: int
    loss: float
    train_accuracy: float | None
    """Share of right labels; None where targets are no classes."""
    test_accuracy: float | None
    cycles: int
    energy_pj: float
    dram_bytes: int
    seconds: float = 0.0  # of the host; the only value that differs between equal runs
    loss_scale: float | None = None
    """The dynamic loss scale at the end of the epoch; None for a fixed one."""
    skipped: int = 0
    """Steps that were undone because a gradient overflowed."""


@dataclass(slots=True)
class History:
    """The outcome of a training run."""

    epochs: list[Metrics] = field(default_factory=list[Metrics])
    costs: Costs = field(default_factory=Costs)

    @property
    def test_accuracy(self) -> float | None:
        """The last test accuracy."""
        return self.epochs[-1].test_accuracy if self.epochs else None


Progress: TypeAlias = Callable[[int, int, float], None]
"""Called after each step with epoch, step in the epoch, loss."""


def fit(
    learner: Learner,
    data: Data,
    plan: Plan,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Progress = lambda epoch, step, loss: None,
    on_epoch: Callable[[Metrics], None] = lambda metrics: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> History:
    """Train for ``plan.epochs`` epochs in total; with ``out`` keep a checkpoint there.

    An earlier run there is refused unless it is resumed or overwritten.
    """
    if len(data.y) < plan.batch:
        text = f"{len(data.y)} training samples do not fill one batch of {plan.batch}"
        fail("E0022", text, help="lower [training] batch or --batch")
    history = History()
    if resume and out is not None:
        history = _resume(learner, plan, out, on_note)
    elif out is not None:
        make_folder(out)
        if not overwrite:
            refuse_earlier_run(out)
        write_bytes(str(out / METRICS), b"")
    for epoch in range(len(history.epochs) + 1, plan.epochs + 1):
        started = time.perf_counter()
        metrics = _epoch(learner, data, plan, epoch, history, on_step)
        if len(data.y_test) and plan.scorer is not None:
            metrics.test_accuracy = accuracy(learner, data.x_test, data.y_test, plan, plan.scorer)
        metrics.seconds = round(time.perf_counter() - started, 3)
        history.epochs.append(metrics)
        if out is not None:
            _save(learner, plan, history, out)
        on_epoch(metrics)
    return history


def refuse_earlier_run(out: Path) -> None:
    """Complain if a folder holds what a training run wrote, or other files of these names."""
    for name in (CHECKPOINT, WEIGHTS, METRICS):
        path = out / name
        if path.exists() and not (name == METRICS and path.is_file() and not path.stat().st_size):
            fail(
                "E0040",
                f"the folder holds a training run: {name}",
                str(out),
                help="--resume goes on with it, --overwrite begins anew, -o names another folder",
            )


def steps_per_epoch(data: Data, plan: Plan) -> int:
    """Return the number of training steps in an epoch."""
    return len(data.y) // plan.batch


def batches(count: int, plan: Plan, epoch: int) -> Iterator[Array]:
    """Yield the sample numbers of an epoch's batches."""
    generator = np.random.Generator(np.random.Philox(key=[plan.seed, epoch]))
    order = generator.permutation(count)
    for start in range(0, count - plan.batch + 1, plan.batch):
        yield order[start : start + plan.batch]


def accuracy(learner: Learner, x: Array, y: Array, plan: Plan, scorer: Scorer) -> float:
    """Return the share of labels whose class is the largest logit."""
    right = 0
    for start in range(0, len(y), plan.batch):
        chosen = np.arange(start, min(start + plan.batch, len(y)))
        batch = take(x, chosen, plan)
        short = plan.batch - len(chosen)
        if short:
            width = [(0, 0)] * batch.ndim
            width[plan.sample_axis] = (0, short)
            batch = np.pad(batch, width)
        labels = np.concatenate([y[chosen], np.full((short, *y.shape[1:]), -1, y.dtype)])
        right += scorer.right(learner.predict(batch), labels)
    return right / y.size


def take(x: Array, chosen: Array, plan: Plan) -> Array:
    """Return the chosen samples, the sample axis moved to where the model has it."""
    return np.moveaxis(x[chosen], 0, plan.sample_axis)


def _epoch(
    learner: Learner, data: Data, plan: Plan, epoch: int, history: History, on_step: Progress
) -> Metrics:
    losses: list[float] = []
    right = labels = 0
    costs = Costs()
    before = history.epochs[-1].step if history.epochs else 0
    scale: float | None = None
    skipped = 0
    for number, chosen in enumerate(batches(len(data.y), plan, epoch), 1):
        loss, logits = learner.step(
            take(data.x, chosen, plan),
            np.moveaxis(data.y[chosen], 0, plan.target_axis),
            before + len(losses),
        )
        if not math.isfinite(loss):
            fail(
                "E0030",
                f"the loss became {loss} in epoch {epoch}, step {number}",
                help="the forward pass overflowed: lower optimizer.lr, inputs or weights; "
                "`snncc check` names sums that may overflow",
            )
        losses.append(loss)
        if plan.scorer is not None:
            right += plan.scorer.right(logits, data.y[chosen])
            labels += data.y[chosen].size
        stats = learner.stats()
        costs.add(stats)
        scale, skipped = stats.get("loss_scale"), skipped + stats.get("skipped", 0)
        on_step(epoch, number, loss)
    total = history.costs
    total.cycles += costs.cycles
    total.seconds += costs.seconds
    total.energy_pj += costs.energy_pj
    total.dram_bytes += costs.dram_bytes
    step = before + len(losses)
    mean = math.fsum(losses) / len(losses)
    share = right / labels if labels else None
    return Metrics(
        epoch, step, mean, share, None, costs.cycles, costs.energy_pj, costs.dram_bytes,
        loss_scale=scale, skipped=skipped,
    )  # fmt: skip


def _save(learner: Learner, plan: Plan, history: History, out: Path) -> None:
    """Write the checkpoint, then the metrics; both whole or not at all."""
    info = {
        "identity": plan.identity.as_json(),
        "batch": plan.batch,
        "seed": plan.seed,
        "costs": asdict(history.costs),
        "epochs": [asdict(m) for m in history.epochs],
    }
    text = json.dumps(info).encode()
    arrays: dict[str, Array] = {_INFO: np.frombuffer(text, np.uint8)}
    arrays |= {f"state/{name}": value for name, value in learner.state().items()}
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values()))
    arrays["sha256"] = np.frombuffer(digest.digest(), np.uint8)
    write_bytes(str(out / CHECKPOINT), npz_bytes(arrays))
    lines = "".join(json.dumps(asdict(m)) + "\n" for m in history.epochs)
    write_bytes(str(out / METRICS), lines.encode())


def _resume(learner: Learner, plan: Plan, out: Path, on_note: Callable[[str], None]) -> History:
    path = out / CHECKPOINT
    if not path.exists():
        fail("E0027", "there is no checkpoint in this folder", str(out))
    arrays = read_npz(str(path))
    said = arrays.pop("sha256", np.zeros(0, np.uint8)).tobytes()
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values()))
    try:
        if said != digest.digest():
            raise ValueError("its checksum is wrong")
        info = json.loads(arrays.pop(_INFO).tobytes())
        if not isinstance(info["identity"], dict):
            fail("E0027", "the checkpoint was made by an older version of snncc", str(path))
        there: dict[str, dict[str, Any]] = info["identity"]
        before = {**there["fixed"], "batch": info["batch"], "training.seed": info["seed"]}
        now = {**plan.identity.fixed, "batch": plan.batch, "training.seed": plan.seed}
        refused = differences(before, now)
        if refused:
            fail(
                "E0027",
                "the checkpoint was made with another model, data or configuration",
                str(path),
                notes=refused,
                help="give the same ones, or start anew without --resume",
            )
        for difference in differences(there["free"], plan.identity.free):
            on_note(f"note: {difference}")
        history = History([Metrics(**m) for m in info["epochs"]], Costs(**info["costs"]))
    except (KeyError, TypeError, ValueError) as error:
        fail("E0027", f"the checkpoint is damaged: {error}", str(path))
    learner.load_state({name.removeprefix("state/"): value for name, value in arrays.items()})
    return history
