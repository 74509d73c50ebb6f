"""Object files: the tensor table, what memory holds at the start, equal bytes for equal input."""

from pathlib import Path

import numpy as np

from made_steps import Made, dense
from phased_steps import random_step
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Value, tensor
from snncc.isa.numbers import fp16
from snncc.isa.program.file import read, write
from snncc.isasim.system import RunOptions, System
from whole_stack import compiled, machine


def test_the_tensor_table_goes_through_the_file(tmp_path: Path) -> None:
    made = dense(3, 4, 40, 21)
    program = compiled(made.module, machine(3))
    write(program, tmp_path / "step.snnx")
    again = read(tmp_path / "step.snnx")
    assert again.tensors == program.tensors
    assert again.cores == program.cores
    assert again.micro == program.micro
    assert again.initial == program.initial
    assert again.metadata == program.metadata


def test_inputs_and_parameters_read_back_what_was_put_in() -> None:
    made = dense(3, 4, 40, 21)
    system = System(compiled(made.module, machine(2)), RunOptions())
    for name, values in made.inputs.items():
        system.write_tensor(name, values)
        bits = values.dtype == np.bool_
        expected = values.astype(np.uint8) if bits else fp16.round_f16(values)
        assert np.array_equal(system.read_tensor(name), expected)
    for name in ("w", "b"):
        expected = fp16.round_f16(made.module.resources[name].astype(np.float32))
        assert np.array_equal(system.read_tensor(name), expected)
        assert system.tensor(name).role == "param"
        assert system.tensor(name).file_name == name


def test_roles_and_names_of_results() -> None:
    made = Made(2, 3)
    z, y = made.seq("z", 5), made.input("y", tensor((3,), "i32"))
    terms, g = made.b.op("phase.softmax_ce", z, y, scale=1.0, batch=3).results
    made.output(
        **{"loss": made.b.one("phase.total", terms, factor=1 / 3), "logits": z, "grad/z": g}
    )
    program = compiled(made.module, machine(1))
    roles = {t.name: t.role for t in program.tensors}
    assert roles["z"] == "input"
    assert roles["y"] == "target"
    assert roles["result:loss"] == "loss"
    assert roles["result:logits"] == "logits"
    assert roles["result:grad/z"] == "grad"


def test_states_live_from_run_to_run() -> None:
    made = Made(1, 1)
    attrs: dict[str, Attribute] = {"name": "count", "init": 0.0}
    old = made.b.op("phase.state", types=[tensor((3, 5))], attrs=attrs).result

    def more(e: Builder, args: list[Value]) -> list[Value]:
        return [e.one("ew.add", args[0], e.one("ew.const", value=1.0))]

    made.store("count", made.region("map", [old], [old.type], more)[0], "state")
    system = System(compiled(made.module, machine(1)), RunOptions(strict_init=True))
    for run in range(1, 4):
        assert system.run().fault is None
        assert (system.read_tensor("count") == run).all()


def test_the_same_module_gives_the_same_bytes(tmp_path: Path) -> None:
    for seed in range(5):
        files: list[bytes] = []
        for i in range(2):
            path = tmp_path / f"{seed}.{i}.snnx"
            write(compiled(random_step(seed).module, machine(4)), path)
            files.append(path.read_bytes())
        assert files[0] == files[1]


def test_every_instruction_knows_its_layer_and_phase() -> None:
    made = dense(2, 2, 20, 20)
    for core in compiled(made.module, machine(2)).cores:
        for address in range(len(core.code) - 1):
            line = core.source(address)
            assert line is not None
            assert line.phase in {"fp", "bp", "wg", "update", "sync"}
            assert line.location
