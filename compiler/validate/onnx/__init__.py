"""An ONNX file executed as it is written: the reference of its import."""
