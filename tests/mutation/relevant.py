"""Which tests could notice a fault in a file: the near ones first, then those further away.

The first pattern that fits a file counts.  Tests are files or folders under ``tests``; the slow
ones are left out everywhere.  Near are those that look at the module itself, far are those that run
it with others.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Final, NamedTuple


class Tests(NamedTuple):
    """Paths under ``tests``."""

    near: tuple[str, ...]
    far: tuple[str, ...] = ()


ISA, SIM, COMPILER = "unit/isa/", "unit/isasim/", "unit/compiler/"
PHASES, TILING = COMPILER + "phases/", COMPILER + "tiling/"
ONNX, NIR = COMPILER + "frontend/onnx/", COMPILER + "frontend/nir/"

_MANY_LAYERS: Final = (
    TILING + "test_templates.py", TILING + "test_layers_of_models.py", TILING + "test_pooling.py",
    COMPILER + "backend",
)  # fmt: skip
_WHOLE: Final = (TILING + "test_whole_stack.py", "e2e/test_frameworks.py")
_COMMANDS: Final = (
    "e2e/test_commands.py", "e2e/test_check.py", "e2e/test_report.py", "e2e/test_inspection.py",
    "e2e/test_api.py", "e2e/test_errors.py", "e2e/test_estimate.py", "e2e/test_train.py",
    "golden",
)  # fmt: skip

RELEVANT: Final[dict[str, Tests]] = {
    # --- isa
    "isa/cost*.py": Tests(
        (ISA + "test_cost_by_hand.py", ISA + "test_cost.py", ISA + "test_cost_windows.py"),
        (ISA + "test_estimate.py", SIM + "test_timing.py", SIM + "test_closed_forms.py"),
    ),
    "isa/cost/expected.py": Tests((ISA + "test_expected.py",), (ISA + "test_estimate.py",)),
    "isa/cost/estimate.py": Tests((ISA + "test_estimate.py",), ("e2e/test_estimate.py",)),
    "isa/numbers/[fa]*.py": Tests(
        (ISA + "test_fp16.py", ISA + "test_fp16_accumulate.py", ISA + "test_testfloat.py"),
        (SIM + "test_engines.py",),
    ),
    "isa/numbers/tables.py": Tests((ISA + "test_tables.py", ISA + "test_fp16.py")),
    "isa/numbers/rng.py": Tests((ISA + "test_rng.py",), (SIM + "test_engines.py",)),
    "isa/program/layout.py": Tests((ISA + "test_layout.py",), (ISA + "test_objfile.py",)),
    "isa/machine*.py": Tests(
        (ISA + "test_machine.py",), (ISA + "test_cost.py", "e2e/test_commands.py")
    ),
    "isa/micro*.py": Tests(
        (ISA + "test_microcode.py", ISA + "test_encoding.py", ISA + "test_cost.py"),
        ("unit/assembler", SIM + "test_engines.py", "golden"),
    ),
    "isa/obj*.py": Tests(
        (ISA + "test_objfile.py",), ("unit/assembler", SIM + "test_debugger.py", "golden")
    ),
    "isa/program/container.py": Tests((ISA + "test_objfile.py",), ("e2e/test_interrupted.py",)),
    "isa/random_*.py": Tests(
        (ISA + "test_random_programs.py",), (SIM + "test_random_programs.py", "fuzz")
    ),
    "isa/window.py": Tests(
        (ISA + "test_cost_windows.py", ISA + "test_expected.py", SIM + "test_windows.py"),
        (SIM + "test_engines.py",),
    ),
    "isa/diagnostics/diag.py": Tests((COMPILER + "test_diag.py",), (COMPILER + "ir", "golden")),
    "isa/diagnostics/errors.py": Tests(
        ("guards/test_docs.py", COMPILER + "test_diag.py"), ("e2e/test_errors.py",)
    ),
    "isa/manual.py": Tests((ISA + "test_export.py", "guards/test_docs.py")),
    "isa/*.py": Tests(
        (
            ISA + "test_encoding.py",
            ISA + "test_text.py",
            ISA + "test_export.py",
            "guards/test_docs.py",
            ISA + "test_random_programs.py",
        ),
        ("unit/assembler", SIM + "test_engines.py", "golden"),
    ),
    # --- isasim
    "isasim/engines/reference*.py": Tests(
        (SIM + "test_reference_engine.py", SIM + "test_engines.py", SIM + "test_windows.py"),
        (
            SIM + "test_accumulate_shapes.py",
            SIM + "test_engine_checks.py",
            SIM + "test_random_programs.py",
        ),
    ),
    "isasim/engines/footprint/checks.py": Tests(
        (SIM + "test_engine_checks.py", SIM + "test_window_traps.py"),
        (SIM + "test_observers.py", SIM + "test_hostile_programs.py", SIM + "test_engines.py"),
    ),
    "isasim/engines/footprint*.py": Tests(
        (SIM + "test_engine_checks.py", SIM + "test_window_traps.py", SIM + "test_observers.py"),
        (SIM + "test_windows.py",),
    ),
    "isasim/engines/kernels/kernel_cache.py": Tests(
        (SIM + "test_kernel_cache.py",), (SIM + "test_engines.py",)
    ),
    "isasim/engines/fast/spike_lists.py": Tests(
        (SIM + "test_spike_lists.py",), (SIM + "test_engines.py",)
    ),
    "isasim/engines/*.py": Tests(
        (SIM + "test_engines.py", SIM + "test_windows.py", SIM + "test_accumulate_shapes.py"),
        (
            SIM + "test_spike_lists.py",
            SIM + "test_random_programs.py",
            SIM + "test_recorded_networks.py",
            SIM + "test_engine_checks.py",
        ),
    ),
    "isasim/debug*.py": Tests((SIM + "test_debugger.py",), ("e2e/test_inspection.py",)),
    "isasim/trace*.py": Tests((SIM + "test_observers.py", SIM + "test_perfetto.py"), _COMMANDS[:4]),
    "isasim/observe/perfetto.py": Tests((SIM + "test_perfetto.py",), ("e2e/test_inspection.py",)),
    "isasim/observe/races.py": Tests(
        (SIM + "test_observers.py",), (SIM + "test_hostile_programs.py",)
    ),
    "isasim/measure/critical.py": Tests((SIM + "test_critical.py",), ("e2e/test_report.py",)),
    "isasim/schedulers/periodic.py": Tests(
        (SIM + "test_periodic.py",), (SIM + "test_timing_only.py",)
    ),
    "isasim/replay/plan.py": Tests((SIM + "test_plan.py",), (SIM + "test_recorded_networks.py",)),
    "isasim/schedulers/parallel.py": Tests((SIM + "test_threads.py",)),
    "isasim/schedulers/untimed.py": Tests(
        (SIM + "test_synchronisation.py", SIM + "test_random_programs.py", SIM + "test_plan.py"),
        (SIM + "test_threads.py", SIM + "test_observers.py"),
    ),
    "isasim/*.py": Tests(
        (
            SIM + "test_timing.py",
            SIM + "test_synchronisation.py",
            SIM + "test_sequencer.py",
            SIM + "test_movement.py",
            SIM + "test_moves.py",
            SIM + "test_accounts.py",
            SIM + "test_closed_forms.py",
            SIM + "test_timing_only.py",
        ),
        (
            SIM + "test_observers.py",
            SIM + "test_critical.py",
            SIM + "test_debugger.py",
            SIM + "test_hostile_programs.py",
            SIM + "test_periodic.py",
            SIM + "test_random_programs.py",
            "e2e/test_sums.py",
        ),
    ),
    # --- passes
    "compiler/passes/graph/*.py": Tests(
        (COMPILER + "test_configure.py",), (COMPILER + "pipeline", "e2e/test_check.py", *_WHOLE)
    ),
    "compiler/passes/phases/add_optimizer.py": Tests(
        (PHASES + "test_optimizers.py",), (PHASES + "test_reference_models.py",)
    ),
    "compiler/passes/phases/add_loss.py": Tests(
        (PHASES + "test_optimizers.py", PHASES + "test_layer_gradients.py"),
    ),
    "compiler/passes/phases/*.py": Tests(
        (
            PHASES + "test_layer_gradients.py",
            PHASES + "test_derivation.py",
            PHASES + "test_recurrent_layers.py",
            PHASES + "test_passes_keep_bits.py",
        ),
        (
            PHASES + "test_neuron_gradients.py",
            PHASES + "test_optimizers.py",
            PHASES + "test_reference_models.py",
            *_WHOLE,
        ),
    ),
    "compiler/passes/tiling/kit/grid.py": Tests((TILING + "test_grid.py",), _MANY_LAYERS),
    "compiler/passes/tiling/templates/epilogue.py": Tests(
        (TILING + "test_epilogue.py",), _MANY_LAYERS
    ),
    "compiler/passes/tiling/*.py": Tests(
        (TILING + "test_templates.py", TILING + "test_pooling.py", "golden"),
        (
            TILING + "test_layers_of_models.py",
            TILING + "test_grid.py",
            TILING + "test_epilogue.py",
            COMPILER + "backend",
            *_WHOLE,
        ),
    ),
    "compiler/passes/mapping/*.py": Tests((COMPILER + "mapping", "golden"), _MANY_LAYERS + _WHOLE),
    "compiler/passes/lowering/*.py": Tests(
        (COMPILER + "lowering", COMPILER + "backend", "golden"), _MANY_LAYERS + _WHOLE
    ),
    # --- front ends
    "compiler/frontend/dsl_*.py": Tests(
        (COMPILER + "frontend/dsl", "golden"), ("e2e/test_check.py", COMPILER + "backend")
    ),
    "compiler/frontend/onnx/builtins.py": Tests((COMPILER + "frontend/dsl",), ("golden",)),
    "compiler/frontend/nir_*.py": Tests((NIR + "test_layers.py", NIR + "test_neurons.py"), (NIR,)),
    "compiler/frontend/export_*.py": Tests(
        (COMPILER + "frontend/export",), (ONNX + "test_functions.py",)
    ),
    "compiler/export/onnx_functions.py": Tests((ONNX + "test_functions.py",)),
    "compiler/frontend/*.py": Tests(
        (
            ONNX + "test_comparisons.py",
            ONNX + "test_time.py",
            ONNX + "test_forms.py",
            ONNX + "test_errors.py",
            ONNX + "test_functions.py",
            ONNX + "test_files.py",
        ),
        ("e2e/test_frameworks.py", NIR, COMPILER + "frontend/export", "e2e/test_check.py"),
    ),
    # --- commands
    "compiler/cli/train*.py": Tests(
        (COMPILER + "cli/test_training_run.py", COMPILER + "cli/test_trainer.py"),
        ("e2e/test_train.py",),
    ),
    "compiler/cli/report*.py": Tests(("e2e/test_report.py",), ("e2e/test_estimate.py", "golden")),
    "compiler/cli/commands/debug.py": Tests(("e2e/test_inspection.py",), ("e2e/test_commands.py",)),
    "compiler/cli/*.py": Tests((COMPILER + "cli", "e2e/test_commands.py"), _COMMANDS),
}


def relevant(file: str) -> Tests:
    """Return the tests for a source file."""
    for pattern, tests in RELEVANT.items():
        if fnmatch.fnmatchcase(file, pattern):
            return tests
    raise KeyError(f"{file}: no tests are named in {Path(__file__).name}")
