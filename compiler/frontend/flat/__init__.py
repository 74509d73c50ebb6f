"""The flat graph of an ONNX file: values, shapes, axes."""
