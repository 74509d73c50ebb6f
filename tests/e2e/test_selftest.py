"""`snncc selftest` passes here, says what a bug report needs, and notices one wrong bit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from snncc.compiler.cli.selftest import arithmetic, command, programs, training_step
from snncc.compiler.cli.selftest.host import PACKAGES
from snncc.compiler.cli.selftest.outcome import Wrong
from snncc.isa.numbers import fp16
from snncc.isasim.engines import Resolved, select_engine
from snncc.isasim.engines.reference.engine import ReferenceEngine


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    entry = [sys.executable, "-m", "snncc.compiler.cli.entry", "selftest", *words]
    return subprocess.run(entry, env=env, capture_output=True, text=True, check=False)


def test_this_installation() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["passed"] is True
    assert [check["passed"] for check in found["checks"]] == [True] * len(command.CHECKS)
    assert found["python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert set(found["packages"]) == set(PACKAGES[1:])
    assert found["packages"]["numpy"] == np.__version__
    assert found["kernels"]["cache"]["writable"] is True
    assert found["kernels"]["cache"]["entries"] > 20


@pytest.mark.parametrize("op", ["add.h", "sub.h", "mul.h", "div.h", "sqrt.h", "f2h", "mac"])
@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_one_wrong_bit_is_found(op: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One result of one operation has its last bit flipped."""
    good = select_engine(engine)
    kind = type(good)
    execute = kind.execute

    def broken(self: Any, what: Resolved, sram: Any) -> Any:
        done = execute(self, what, sram)
        codes = [inst.op.name for inst in what.micro.code] if what.micro else [what.mnemonic]
        if op in codes:
            sram[what.streams[-1][0] + 200 if what.micro else 40] ^= 1
        return done

    arithmetic.check_arithmetic(good)
    monkeypatch.setattr(kind, "execute", broken)
    with pytest.raises(Wrong, match=rf"{op}: 1 of \d+ results are wrong, number \d+ is 0x"):
        arithmetic.check_arithmetic(good)


def test_the_stored_results_are_rounded_once() -> None:
    """Products and quotients again, in float64 with one rounding: SoftFloat was read rightly."""
    data = arithmetic.stored()
    x, y = (data[name].view(np.float16).astype(np.float64) for name in "xy")
    with np.errstate(all="ignore"):
        for name, exact in (("sum", x + y), ("difference", x - y), ("product", x * y)):
            assert np.array_equal(fp16.f64_to_bits(exact), data[name]), name


@pytest.mark.parametrize("check", ["programs", "training step"])
def test_a_wrong_kernel_fails_the_command(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of the fast engine returns one wrong bit, once in a while."""
    from snncc.isasim.engines.fast.mac import MacKernels

    bind = MacKernels.bind

    def broken(self: MacKernels, op: Resolved, sram: Any) -> Callable[[], Any]:
        run = bind(self, op, sram)

        def wrong() -> Any:
            done = run()
            if op.values[0] + 2 < sram.shape[0]:
                sram[op.values[0] + 2] ^= 1
            return done

        return wrong

    one = {"programs": programs.check_programs, "training step": training_step.check_training_step}
    monkeypatch.setattr(MacKernels, "bind", broken)
    with pytest.raises(Wrong):
        one[check]()


def test_a_failure_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(ReferenceEngine, "execute", crash)
    monkeypatch.setattr(programs, "SEEDS", range(1))
    done = CliRunner().invoke(command.selftest)
    assert done.exit_code == 1
    assert "FAILED       arithmetic, reference: ZeroDivisionError: planted" in done.stdout
    assert "this installation gives wrong results" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)  # other kernels have to be compiled first
@pytest.mark.parametrize(
    ("environment", "kernels", "note"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, False, "NUMBA_DISABLE_JIT"),
        ({"NUMBA_CPU_NAME": "generic"}, True, "no binary16 instructions"),
        ({"NUMBA_CPU_FEATURES": "+avx,-f16c"}, True, "no binary16 instructions"),
        ({"NUMBA_ENABLE_AVX": "0"}, True, "no binary16 instructions"),
    ],
)
def test_settings_of_numba(environment: dict[str, str], kernels: bool, note: str) -> None:
    """Other kernels or none: one note, the same bits."""
    done = run("--json", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["passed"] is True
    assert (found["kernels"] is not None) == kernels
    assert len([text for text in found["notes"] if note in text]) == 1
    assert found["environment"].items() >= environment.items()
