"""Every error code of snncc, in one place: `docs/errors.md` is generated from this table.

Codes are stable: never renumber one, never use a retired number again.  The groups: E01xx reading
models and IR text, E02xx graph, E03xx phases and training, E04xx tiling, E05xx mapping, E06xx
lowering, E07xx assembler, E08xx object file, E09xx simulator.  Each code has a test.

Over 400 lines: a table, read by number; cut by group it would be ten files for one question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GROUPS = {
    "E00": "commands, pipelines and files",
    "E01": "reading models and IR text",
    "E02": "graph and IR rules",
    "E03": "phases and training configuration",
    "E04": "tiling",
    "E05": "mapping",
    "E06": "lowering",
    "E07": "assembler",
    "E08": "object file",
    "E09": "simulator",
}


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One stable code: what it is called and what it means, for the manual."""

    code: str
    title: str
    explanation: str


CODES: dict[str, ErrorCode] = {}


def define(code: str, title: str, explanation: str) -> None:
    """Add a code to the table; a code is defined once."""
    if not re.fullmatch(r"E\d{4}", code) or code[:3] not in GROUPS:
        raise ValueError(f"{code}: not of the form E0nnn with a known group")
    if code in CODES:
        raise ValueError(f"{code} is defined twice: {CODES[code].title!r} and {title!r}")
    CODES[code] = ErrorCode(code, title, explanation)


def lookup(code: str) -> ErrorCode:
    """Return the entry of a code; an unknown one is a bug of ours."""
    if code not in CODES:
        raise ValueError(f"error code {code} is not defined in isa/diagnostics/errors.py")
    return CODES[code]


# --- E00xx commands, pipelines and files -----------------------------------------------------
define(
    "E0001",
    "unknown pass",
    "The pipeline names a pass or an alias that does not exist. "
    "`snncc opt --list-passes` shows them all.",
)
define(
    "E0002",
    "pipeline syntax",
    "A pipeline is a comma-separated list of passes; options stand in braces: `a,b{x=1,y=foo}`.",
)
define("E0003", "bad pass option", "The pass has no such option, or the value does not fit it.")
define(
    "E0004",
    "stages do not chain",
    "A pass expects the IR in another stage than the pass before it leaves behind. The message "
    "names the passes that bridge the gap.",
)
define(
    "E0005", "file cannot be read or written", "The operating system refused; its reason follows."
)
define(
    "E0006",
    "internal error",
    "An exception inside snncc: our bug, not yours. The message names a report, "
    "`snncc-crash-*.txt`, with the command, versions and traceback. Beside it lie the IR before "
    "the pass that failed and the one command that runs it, or, where something else failed, the "
    "graph as imported and the program; please report them together.",
)

# --- commands: E0020..E0049
define(
    "E0020",
    "bad input arrays",
    "The npz file with inputs is damaged, is no npz, or holds pickled objects. It must be written "
    "by numpy's savez with plain numeric arrays.",
)
define("E0021", "array missing", "The npz file lacks an array: `x`, and `y` to train.")
define(
    "E0022",
    "wrong array shape",
    "An input array does not have the shape that the model expects; the message has both.",
)
define("E0023", "bad values", "Inputs must be finite numbers, labels integers within the classes.")
define("E0024", "unknown kind of model", "MODEL is .onnx, .nir, .snn, or a program .snnx.")
define("E0025", "unknown data set", "`snncc train --data` takes digits or a .npz file.")
define(
    "E0026",
    "package missing",
    "The command needs an optional package; the message has the pip command that installs it.",
)
define("E0027", "bad checkpoint", "The checkpoint is damaged or belongs to another run.")
define("E0028", "unknown target", "No machine of this name; `snncc targets` lists them.")
define(
    "E0029",
    "program and request do not fit",
    "The program was compiled for something else than what the command asks of it.",
)
define("E0030", "training diverged", "The loss is not a finite number any more.")
define(
    "E0031",
    "gradients differ",
    "`snncc demo` compares with the shipped PyTorch reference and found a difference.",
)

define("E0034", "not a run", "`snncc report` takes the JSON that `snncc run --stats` wrote.")
define(
    "E0033",
    "bad densities",
    "A run without values needs densities from 0 to 1, statistics with layers, or the recording "
    "of a full run of the same program (`--record`).",
)
define("E0032", "not enough memory", "The model does not fit the memory of this computer.")
define(
    "E0040",
    "a file would be lost",
    "The command would replace a file that it reads, writes twice, or did not make itself. Name "
    "another output; `snncc train --overwrite` begins anew in the folder of an earlier run.",
)
define(
    "E0041", "two uses of one stream", "Only one file can be read from stdin, or written to stdout."
)

# --- E01xx reading models and IR text (E0101..E0149 models, E0150..E0199 IR text) --------------
define(
    "E0101",
    "not an ONNX model",
    "The file is empty, cut off, or something else under the name of an ONNX file.",
)
define(
    "E0102",
    "external data",
    "A weight lies in a second file that is missing, too short, or outside the model's folder.",
)
define(
    "E0103",
    "tensor does not fit its data",
    "A tensor's shape or element type contradicts the data that the file holds, or is absurd.",
)
define(
    "E0104",
    "operator not supported",
    "The operator, or this use of it, has no counterpart in the graph dialect. The message lists "
    "what is supported in its place.",
)
define(
    "E0105",
    "malformed graph",
    "A node uses a value that nothing defines, lacks an input or an attribute, or its operands "
    "have shapes that do not fit.",
)
define(
    "E0106",
    "function not defined",
    "A node of a custom domain has no function body in the file, or functions call one another "
    "without end.",
)
define(
    "E0107",
    "steps differ",
    "The unrolled time steps of the model do not compute the same thing, so they cannot be rolled "
    "into one step.",
)
define(
    "E0108",
    "time axis or number of steps",
    "`timesteps`, `time_axis` or the batch do not fit the model's inputs, or cannot be found out.",
)
define(
    "E0109",
    "model too large to import",
    "Unrolling loops or folding constants would exceed the importer's limits.",
)
define(
    "E0110",
    "non-zero initial state",
    "A neuron's state starts from a value that the exporter baked into the file (warning).",
)
define(
    "E0111",
    "guessed by the importer",
    "Something that the file does not say was assumed, such as the number of steps (warning).",
)
define(
    "E0112",
    "not a NIR file",
    "The file is no HDF5 file, was written half, is damaged, or holds something else than a NIR "
    "graph: nodes with a type, and edges.",
)
define(
    "E0113",
    "time step unknown",
    "NIR gives time constants but no time step, and this file has no hint at it. `--dt` says it, "
    "in the unit of the time constants.",
)
define(
    "E0114",
    "the import is not the file",
    "The import does not compute what the file computes, or has other gradients: a limit of "
    "snncc's front end, found by comparing the two (docs/design/validation.md). The message names "
    "the first node that differs and both values. Nothing is emitted.",
)
define(
    "E0115",
    "cannot be exported",
    "The format that `snncc export` is to write has no words for a part of the network.",
)
define(
    "E0116",
    "not validated",
    "The import could not be compared with the file, or only in part: the message says what of it "
    "the comparison does not know (warning). For inference also: results are those of the file, "
    "gradients are not; the same import is refused for training (E0114).",
)
define(
    "E0117",
    "neurons left as arithmetic",
    "What looks like a neuron fires like one of snncc's and has other gradients, so the "
    "recurrences of the file stay as they are written (warning). They compute what the file "
    "computes; they have no row of constants, and a surrogate that the file does not say must be "
    "configured.",
)
define("E0120", "network syntax", "The text does not follow the grammar of docs/dsl.md.")
define(
    "E0121",
    "unknown layer or option",
    "The network language has no such layer, option or setting, or one that is needed is missing. "
    "docs/dsl.md lists them.",
)
define("E0122", "bad value in a network", "An option or setting has a value that does not fit it.")
define(
    "E0123",
    "name in a network",
    "A name is used before a line defines it, or defined twice.",
)
define(
    "E0124",
    "layer does not fit",
    "A layer of a .snn file cannot take what the line before gives: the message has the shapes.",
)
define(
    "E0125",
    "weights of a network",
    "The npz file that a .snn file names is missing, damaged, or lacks a parameter of this shape.",
)
define("E0150", "IR syntax", "The text does not follow the grammar of docs/design/ir.md.")
define("E0151", "unknown value", "The operand names a value that no op or argument defines here.")
define("E0152", "name defined twice", "Two values, functions or resources share a name.")
define("E0153", "bad type", "A type is `kind<AxBxdtype>`, kind one of tensor, seq, dram, sram.")
define(
    "E0154",
    "resource missing",
    "The text refers to an array by its SHA-256 and the side file beside it (NAME.snnir.npz "
    "or resources.npz) is missing, unreadable or does not hold it.",
)
define(
    "E0155",
    "resource damaged",
    "The array in the side file has another SHA-256, shape or dtype than the text says.",
)
define("E0156", "text too large", "The text or its nesting exceeds what a real module needs.")

# --- E02xx graph and IR rules (E0201..E0249 graphs, E0250..E0299 the IR verifier) ---------------
define("E0250", "unknown op", "No dialect defines this op.")
define("E0251", "op outside its stage", "The module's stage does not allow this op.")
define("E0252", "wrong number of operands, results or regions", "See the op's definition.")
define("E0253", "bad attribute", "An attribute is missing, unknown or of another type.")
define("E0254", "value used before its definition", "An op may use only what stands above it.")
define("E0255", "inconsistent IR", "Parent, use or index links contradict each other: our bug.")
define("E0256", "bad terminator", "A block must end with its terminator, and only there.")
define("E0257", "op rule broken", "The op's own rule, stated in its definition, does not hold.")
define("E0258", "bad type", "A type has an unknown dtype or a dimension that is not positive.")
define("E0259", "location missing", "Every op says where it came from; a pass carries it over.")
define("E0260", "bad module attribute", "stage, steps or batch are missing or have a wrong value.")
define(
    "E0261",
    "function missing",
    "The pipeline works on functions of fixed names: @main of a graph, @step after that.",
)

# --- E03xx phases and training configuration ---------------------------------------------------
# Training configuration: E0350..E0369
define("E0350", "configuration syntax", "The file is no valid TOML.")
define(
    "E0351",
    "unknown configuration key",
    "docs/config.md lists all keys. A misspelt key would silently do nothing, hence an error.",
)
define("E0352", "bad configuration value", "The value has the wrong type or is out of range.")
define(
    "E0353", "unknown surrogate", "The message lists the surrogates; docs/config.md has formulas."
)
define(
    "E0354",
    "configuration does not fit the model",
    "A layer, output or parameter pattern names nothing in this model, or a key contradicts it.",
)
define("E0355", "configuration incomplete", "The model does not say it and has no safe default.")
define(
    "E0360",
    "numbers overflowed",
    "Weights, gradients, optimizer states or results are infinite or NaN: `snncc train` stops, "
    "`snncc run` warns. The message names the arrays with their layers. "
    '`[loss] scale = "dynamic"` finds a scale at which gradients fit.',
)

# Warnings of `snncc check`: E0370..E0379
define(
    "E0370",
    "surrogate guessed",
    "No file format says which surrogate gradient a network was trained with; the default of a "
    "framework was assumed (warning).",
)
define(
    "E0371",
    "may overflow",
    "A weight, a sum of products or a scaled gradient may exceed 65504, the largest binary16 "
    "number (warning).",
)
define(
    "E0372",
    "batch normalisation folded",
    "The exporter folded a batch normalisation into the weights; its statistics cannot be trained "
    "(warning).",
)
define(
    "E0373",
    "comparison differs",
    "A layer fires at the threshold where its framework, or another layer, fires only above it, or "
    "the other way round (warning).",
)
define(
    "E0374",
    "silent layer",
    "A layer of neurons never fires on the input of the trial run, so nothing before it learns "
    "(warning).",
)
define(
    "E0375",
    "layer in a recurrent connection",
    "A layer that needs more than its own step, or has no step form, lies on a cycle through time.",
)
define(
    "E0376",
    "unscaled data",
    "The training samples hold whole numbers as bytes do, 0 to 255; nobody scaled them, it seems "
    "(warning).",
)
define(
    "E0377",
    "equal maxima",
    "A maximum over spikes: many entries are the largest, and frameworks differ in which of them "
    "gets the gradient. `maximum` in `[gradient]` says it (warning).",
)
define(
    "E0378",
    "a setting that the optimizer does not have",
    "The configuration gives a setting of another optimizer, such as betas for sgd or momentum for "
    "adam. It has no effect; docs/config.md names the optimizers that take it.",
)

# --- E04xx tiling -----------------------------------------------------------------------------
define(
    "E0401",
    "scratchpad too small",
    "The smallest tile of a layer does not fit a core's scratchpad; the message tells by how many "
    "bytes.",
)
define(
    "E0402",
    "operation has no tiling",
    "A part of the training step has no template for a chip yet, or mixes shapes in a way that the "
    "lanes cannot read.",
)

define("E0403", "no machine", "Tiling and lowering need a target machine: name one with --target.")

# --- E05xx mapping ----------------------------------------------------------------------------

# --- E06xx lowering ---------------------------------------------------------------------------
define(
    "E0601",
    "DRAM too small",
    "The tensors of the training step do not fit the machine's DRAM; the message tells by how many "
    "bytes.",
)
define(
    "E0602",
    "registers used up",
    "A task needs more address registers than a core has.",
)
define("E0603", "program too large", "A core's program does not fit the machine's memory.")
define(
    "E0604",
    "semaphores too small",
    "Units of a core may run further ahead of each other than a semaphore can count.",
)

# --- E07xx assembler --------------------------------------------------------------------------
define("E0701", "assembly syntax", "The line does not follow docs/assembly.md.")
define(
    "E0702",
    "unknown instruction or directive",
    "No row of the instruction table, no directive and no macro above this line has this name. "
    "`snncc isa` lists the instructions.",
)
define(
    "E0703",
    "bad operand",
    "The operands do not have the form that the instruction asks for, name something that does not "
    "exist, or are out of range.",
)
define("E0704", "name not defined", "Nothing defines the name, or not where it is used.")
define("E0705", "name defined twice", "A name has one meaning; labels: one in each section.")
define(
    "E0706",
    "bad expression",
    "The expression cannot be evaluated: a division by zero, a result of more than 128 bits, a "
    "fraction where an integer belongs, a name that depends on itself, or too much nesting.",
)
define("E0707", "bad arguments of a directive", "The help shows what the directive expects.")
define(
    "E0708",
    "block not closed or not open",
    "Every {, .micro, .macro and .rep has its }, .end, .endm and .endr in the same section.",
)
define(
    "E0709",
    "macro or repeat",
    "The call does not fit the macro's parameters, or the expansion exceeds its limits: 64 levels, "
    "1,048,576 lines, 65,536 characters in a line.",
)
define("E0710", "bad microprogram", "A line of a `.micro` block is wrong.")
define("E0711", "no such machine", "The machine does not exist or its description is wrong.")
define(
    "E0712",
    "initial data do not fit",
    "A value is out of range, or the data reach beyond the memory they belong to.",
)
define("E0713", "bad tensor", "Element type, shape, layout or address cannot be right.")
define("E0714", "bad core", "The core does not exist, or has two sections.")
define("E0715", "file cannot be included", "It is missing, damaged, or outside the text's folder.")
define("E0716", "program too large", "The text, its code or its data exceed the limits.")

# --- E08xx object file ------------------------------------------------------------------------
define(
    "E0801",
    "broken object file",
    "The file is no object file, is damaged (its checksum is wrong), or was made for another "
    "instruction set. Compile or assemble it again.",
)

# --- E09xx simulator --------------------------------------------------------------------------
define(
    "E0901",
    "trap",
    "An instruction did something that is not allowed, such as an access outside its memory. "
    "Nothing was changed by it. Exit code 3.",
)
define("E0902", "limit", "The program ran longer than --max-instructions. Exit code 4.")
define(
    "E0903",
    "deadlock",
    "Units wait for one another; the report tells who waits for whom. Exit code 5.",
)
define("E0904", "race", "Two accesses that nothing orders touch the same bytes (--check-races).")
