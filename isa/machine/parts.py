"""The parts of a machine description; values say their units and ranges, both ends allowed."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from typing import Annotated, Any, ClassVar, Final, Protocol

from snncc.isa.spec import LOOP_DEPTH

MAX_CORES: Final = 64
"""A multicast names its receivers in a 64-bit register."""


class MachineError(ValueError):
    """A machine description is wrong; ``problems`` has one line per wrong key."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


class Part(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True)
class Range:
    """What a number may be, and its unit."""

    unit: str
    low: int
    high: int


@dataclass(frozen=True)
class Words:
    """Which words a text may be; none given: any."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Mesh:
    """The 2-D mesh; core ``i`` sits at row ``i // cols``, column ``i % cols``."""

    rows: Annotated[int, Range("", 1, MAX_CORES)]
    cols: Annotated[int, Range("", 1, MAX_CORES)]


@dataclass(frozen=True)
class SequencerLimits:
    """Fetches, computes addresses, pushes instructions into the units' queues."""

    instruction_bytes: Annotated[int, Range("bytes per core", 16, 1 << 26)]
    queue_depth: Annotated[int, Range("instructions per unit", 1, 4096)]
    semaphore_max: Annotated[int, Range("tokens", 1, 65535)]
    loop_depth: Annotated[int, Range("nested loops", 1, LOOP_DEPTH)]
    fetch_pj_per_byte: Annotated[float, Range("pJ/byte", 0, 1_000_000)]


@dataclass(frozen=True)
class Scratchpad:
    """A core's addressable SRAM.

    Every unit has two ports of its own, each with one path per direction: ``port_bytes`` wide for
    operands, ``acc_port_bytes`` wide for binary32 accumulators.
    """

    bytes: Annotated[int, Range("bytes per core", 256, 1 << 32)]
    port_bytes: Annotated[int, Range("bytes/cycle", 2, 4096)]
    acc_port_bytes: Annotated[int, Range("bytes/cycle", 4, 4096)]
    read_pj_per_byte: Annotated[float, Range("pJ/byte", 0, 1_000_000)]
    write_pj_per_byte: Annotated[float, Range("pJ/byte", 0, 1_000_000)]


@dataclass(frozen=True)
class Stage:
    """A row of lanes that run microprograms; each lane is pipelined."""

    lanes: Annotated[int, Range("lanes", 1, 4096)]
    ops_per_cycle: Annotated[int, Range("micro-operations/cycle/lane", 1, 64)]
    slow_cycles: Annotated[int, Range("cycles per division or square root", 1, 256)]
    latency_cycles: Annotated[int, Range("cycles", 0, 65536)]


@dataclass(frozen=True)
class Array:
    """A MAC array of ``rows`` reduced inputs by ``cols`` outputs, its operand buffers, its stage.

    ``skip`` says what inactive terms save: ``none`` (only their additions' energy), ``block`` (a
    block of ``rows`` inputs that are all inactive takes no cycle), ``compact`` (active inputs are
    packed, so inactive ones take no cycle at all).  Buffers: ``a`` inputs, ``b`` weights or
    gradients, ``acc`` partial sums.
    """

    rows: Annotated[int, Range("reduced terms/cycle", 1, 1024)]
    cols: Annotated[int, Range("outputs/cycle", 1, 1024)]
    skip: Annotated[str, Words(("none", "block", "compact"))]
    latency_cycles: Annotated[int, Range("cycles", 0, 65536)]
    a_buffer_bytes: Annotated[int, Range("bytes", 2, 1 << 30)]
    b_buffer_bytes: Annotated[int, Range("bytes", 2, 1 << 30)]
    acc_buffer_bytes: Annotated[int, Range("bytes", 4, 1 << 30)]
    a_pj_per_bit: Annotated[float, Range("pJ/bit", 0, 1_000_000)]
    b_pj_per_bit: Annotated[float, Range("pJ/bit", 0, 1_000_000)]
    acc_pj_per_bit: Annotated[float, Range("pJ/bit", 0, 1_000_000)]
    stage: Stage


@dataclass(frozen=True)
class Dma:
    """A core's port to the DRAM."""

    bytes_per_cycle: Annotated[int, Range("bytes/cycle", 1, 65536)]
    latency_cycles: Annotated[int, Range("cycles", 0, 1 << 20)]


@dataclass(frozen=True)
class Dram:
    """The memory that all cores share; ``bytes_per_cycle`` is the total of all cores."""

    bytes: Annotated[int, Range("bytes", 1 << 10, 1 << 48)]
    bytes_per_cycle: Annotated[int, Range("bytes/cycle", 1, 1 << 20)]
    burst_bytes: Annotated[int, Range("bytes", 1, 4096)]
    latency_cycles: Annotated[int, Range("cycles", 0, 1 << 20)]
    pj_per_bit: Annotated[float, Range("pJ/bit", 0, 1_000_000)]


@dataclass(frozen=True)
class Noc:
    """The network on chip: XY routes, one link per neighbour and direction."""

    link_bytes_per_cycle: Annotated[int, Range("bytes/cycle", 1, 65536)]
    hop_cycles: Annotated[int, Range("cycles", 0, 65536)]
    pj_per_bit_hop: Annotated[float, Range("pJ/bit/hop", 0, 1_000_000)]
    channel_credits: Annotated[int, Range("messages per channel", 1, 65535)]


@dataclass(frozen=True)
class Energy:
    """Energy of one operation; ``mac_add`` is the adder of the MAC arrays."""

    mac_add: Annotated[float, Range("pJ", 0, 1_000_000)]
    mac_mul: Annotated[float, Range("pJ", 0, 1_000_000)]
    add_f16: Annotated[float, Range("pJ", 0, 1_000_000)]
    mul_f16: Annotated[float, Range("pJ", 0, 1_000_000)]
    div_f16: Annotated[float, Range("pJ", 0, 1_000_000)]
    sqrt_f16: Annotated[float, Range("pJ", 0, 1_000_000)]
    add_f32: Annotated[float, Range("pJ", 0, 1_000_000)]
    mul_f32: Annotated[float, Range("pJ", 0, 1_000_000)]
    div_f32: Annotated[float, Range("pJ", 0, 1_000_000)]
    sqrt_f32: Annotated[float, Range("pJ", 0, 1_000_000)]
    compare: Annotated[float, Range("pJ", 0, 1_000_000)]
    mux: Annotated[float, Range("pJ", 0, 1_000_000)]
    logic: Annotated[float, Range("pJ", 0, 1_000_000)]
    move: Annotated[float, Range("pJ", 0, 1_000_000)]
    table: Annotated[float, Range("pJ", 0, 1_000_000)]
    random: Annotated[float, Range("pJ", 0, 1_000_000)]
    register_pj_per_bit: Annotated[float, Range("pJ/bit", 0, 1_000_000)]


@dataclass(frozen=True)
class Power:
    """Power that flows whatever the program does (leakage) or while a core runs it (clock)."""

    core_leakage_mw: Annotated[float, Range("mW per core", 0, 1_000_000)]
    core_clock_mw: Annotated[float, Range("mW per running core", 0, 1_000_000)]
    chip_mw: Annotated[float, Range("mW", 0, 1_000_000)]


def flat(part: Part, prefix: str = "") -> dict[str, bool | int | float | str]:
    """Return the scalar values of a machine (or a part of one) by dotted key, in file order."""
    out: dict[str, bool | int | float | str] = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if isinstance(value, bool | int | float | str):
            out[prefix + each.name] = value
        elif not isinstance(value, tuple | frozenset):
            out.update(flat(value, f"{prefix}{each.name}."))
    return out
