"""Reading ONNX files safely: sizes are checked before anything is allocated.

External data is read only from inside the model's folder.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import Arr, DType
from snncc.isa.files import lfs_pointer

MAX_FILE = 1 << 31
MAX_ELEMENTS = 1 << 31
_BYTES_HELP = "export the model again; the file may have been cut off while it was copied"


def read_model(path: Path) -> onnx.ModelProto:
    """Parse a file; a damaged one gives E0101."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            fail("E0101", f"has {size} bytes; ONNX files end at 2 GiB", str(path))
        data = path.read_bytes()
    except OSError as error:
        fail("E0005", f"cannot be read: {error.strerror or error}", str(path))
    if not data:
        fail("E0101", "is empty", str(path), help=_BYTES_HELP)
    pointed = lfs_pointer.pointed_size(data[:1024])
    if pointed is not None:
        fail("E0101", lfs_pointer.words(pointed), str(path), help=lfs_pointer.HELP)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError, whose module has no type information
        if type(error).__name__ != "DecodeError":
            raise
        fail("E0101", f"is not an ONNX file, or is cut off ({size} bytes)", str(path),
             help=_BYTES_HELP)  # fmt: skip
    if not model.HasField("graph") or not model.ir_version or not model.graph.output:
        fail("E0101", "holds no ONNX graph with outputs", str(path), help=_BYTES_HELP)
    return model


def np_dtype(elem: int, where: str) -> DType:
    """Return the numpy type of an ONNX element type."""
    try:
        found = helper.tensor_dtype_to_np_dtype(elem)
    except KeyError:
        found = None
    if found is None or found.kind not in "fiub":
        fail("E0103", f"element type {elem} is not a number type", where)
    return found


class TensorReader:
    """Converts TensorProtos to arrays; ``folder`` is where external data may lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent.resolve()

    def array(self, tensor: onnx.TensorProto, where: str = "") -> Arr:
        """Return a tensor's content; a size that does not fit gives E0102 or E0103."""
        where = where or f"{self.path}:{tensor.name}"
        dims = tuple(int(d) for d in tensor.dims)
        dtype = np_dtype(tensor.data_type, where)
        count = math.prod(dims)
        if any(d < 0 for d in dims) or count > MAX_ELEMENTS:
            fail("E0103", f"tensor of shape {list(dims)} is not possible", where)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(tensor, dims, dtype, where)
        if tensor.HasField("raw_data"):
            if len(tensor.raw_data) != count * dtype.itemsize:
                fail(
                    "E0103",
                    f"shape {list(dims)} needs {count * dtype.itemsize} bytes, "
                    f"the file holds {len(tensor.raw_data)}",
                    where,
                )
            return np.frombuffer(tensor.raw_data, dtype.newbyteorder("<")).reshape(dims)
        held = max(
            len(tensor.float_data),
            len(tensor.int32_data),
            len(tensor.int64_data),
            len(tensor.double_data),
            len(tensor.uint64_data),
        )
        if held != count:
            fail("E0103", f"shape {list(dims)} needs {count} elements, {held} are there", where)
        return numpy_helper.to_array(tensor)

    def _external(
        self, tensor: onnx.TensorProto, dims: tuple[int, ...], dtype: DType, where: str
    ) -> Arr:
        info = {entry.key: entry.value for entry in tensor.external_data}
        location = info.get("location", "")
        if not location.isprintable():
            fail("E0102", f"external data {location!r}: this is no name of a file", where)
        target = Path(os.path.realpath(self.folder / location))
        if not location or Path(location).is_absolute() or self.folder not in target.parents:
            fail(
                "E0102",
                f"external data {location!r} lies outside the model's folder",
                where,
                help="keep the data file beside the model",
            )
        need = math.prod(dims) * dtype.itemsize
        try:
            offset = int(info.get("offset", "0") or 0)
            length = int(info.get("length", str(need)) or need)
        except ValueError:
            fail("E0102", f"external data offset or length is no number: {info}", where)
        try:
            size = target.stat().st_size
            if not target.is_file():
                raise FileNotFoundError(2, "not a regular file")
        except OSError as error:
            fail(
                "E0102",
                f"external data file {location!r}: {error.strerror or error}",
                where,
                help="copy the data file beside the model, or export with external_data=False",
            )
        if length != need or offset < 0 or offset + need > size:
            fail(
                "E0102",
                f"shape {list(dims)} needs {need} bytes at {offset}; {location!r} holds {size} "
                f"and the entry says {length}",
                where,
                help=_BYTES_HELP,
            )
        with target.open("rb") as stream:
            stream.seek(offset)
            return np.frombuffer(stream.read(need), dtype.newbyteorder("<")).reshape(dims)
