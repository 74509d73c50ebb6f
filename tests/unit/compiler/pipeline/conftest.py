"""Passes of our own, so that these tests do not depend on the real ones."""

from dataclasses import dataclass

import pytest

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Attribute, Location, Module, op
from snncc.compiler.pipeline import named, registry
from snncc.compiler.pipeline.registry import NoOptions, Pass, PassContext, compiler_pass


@dataclass(frozen=True, slots=True)
class Options:
    """``key`` is set to ``values``."""

    key: str = "k"
    values: tuple[int, ...] = ()
    limit: int | None = None
    ratio: float = 0.5
    fast: bool = False

    def __post_init__(self) -> None:
        if self.ratio < 0:
            raise ValueError(f"ratio is {self.ratio}, below 0")


@pytest.fixture(autouse=True)
def own_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    none: dict[str, Pass] = {}
    monkeypatch.setattr(registry, "_passes", none)
    monkeypatch.setattr(registry, "_loaded", ["nothing"])
    both = {"both": ("set-key{key=a}", "set-key{key=b}"), "all": ("both", "to-phased", "both")}
    monkeypatch.setattr(named, "NAMED", both)
    monkeypatch.setattr(named, "AT_LEVEL", {0: {"both": ()}})

    @compiler_pass(takes=("graph", "phased"), name="set-key")
    def set_key(module: Module, options: Options, context: PassContext) -> bool:
        """Set an attribute of the module."""
        new: Attribute = options.values
        changed = module.attrs.get(options.key) != new
        module.attrs[options.key] = new
        return changed

    @compiler_pass(takes="graph", gives="phased", name="to-phased")
    def to_phased(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Lead on."""
        module.attrs["stage"] = "phased"
        for each in module.walk():
            each.name = each.name.replace("graph.", "phase.")
        return True

    @compiler_pass(takes="phased", gives="tiled", name="to-tiled")
    def to_tiled(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Forget to set the stage."""
        return True

    @compiler_pass(takes="graph", name="liar")
    def liar(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Change the module and deny it."""
        module.attrs["lie"] = True
        return False

    @compiler_pass(takes="graph", name="vandal")
    def vandal(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Leave IR that breaks the rules."""
        func = next(iter(module.funcs.values()))
        func.body.append(op("graph.nothing", loc=Location("net:/n")))
        return True

    @compiler_pass(takes="graph", name="crash")
    def crash(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Fail half way through."""
        module.attrs["half"] = True
        raise IndexError("off by one")

    @compiler_pass(takes="graph", name="complain")
    def complain(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Find two mistakes of the user, or one."""
        context.diagnostics.warning("E0355", "no surrogate given", "net:/n")
        context.diagnostics.error("E0355", "no threshold", "net:/n")
        if module.attrs.get("k"):
            fail("E0355", "no beta", "net:/n")
        return False
