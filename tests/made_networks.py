"""Small networks of three kinds, compiled: dense, convolutional, recurrent."""

from pathlib import Path
from typing import Final

from snncc.compiler.driver import api
from snncc.isa.program.file import ObjectFile

_HEAD: Final = "init(seed=3, gain=2)\nlet fire = lif(beta=0.9, reset=subtract)\n"
_TRAIN: Final = "train { optimizer = sgd(lr=0.01)  readout = sum }\n"
NETWORKS: Final = {
    "dense": "input(24, steps=5)\n" + _HEAD + "dense(40) fire\ndense(6) fire\n" + _TRAIN,
    "convolutional": "input(2x8x8, steps=4)\n"
    + _HEAD
    + "conv(8, padding=same) fire\nmaxpool\nconv(8, padding=same) fire\nflatten\ndense(6) fire\n"
    + _TRAIN,
    "recurrent": "input(20, steps=5)\n"
    + _HEAD
    + "dense(32) fire(recurrent=true)\ndense(6) fire\n"
    + _TRAIN,
}
"""By name: a network in the network language."""


def program(name: str, folder: Path, cores: int, batch: int = 4) -> api.Program:
    """Compile the training step of a network for the default machine."""
    path = folder / f"{name}.snn"
    path.write_text(NETWORKS[name])
    return api.compile(api.load(path, batch=batch), cores=cores)


def compiled(name: str, folder: Path, cores: int) -> ObjectFile:
    """Return the object file of a network's training step."""
    return program(name, folder, cores).object_file
