"""Compiling a module: what it leaves behind."""

import gc

import pytest

from made_steps import dense
from snncc.compiler.backend.compile import CompileOptions, compile_module
from snncc.compiler.diag import CompileError
from snncc.isa.machine.machine import load_machine

MACHINE = load_machine("multicore20")
OPTIONS = CompileOptions(pipeline="tile,map,lower")


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        compile_module(dense(2, 2, 20, 10).module, MACHINE, OPTIONS)
        assert gc.isenabled() is enabled
        large, small = dense(2, 2, 2000, 10).module, MACHINE.with_(scratchpad_bytes=256)
        with pytest.raises(CompileError):
            compile_module(large, small, OPTIONS)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
