"""Writing a graph as a NIR or ONNX file."""
