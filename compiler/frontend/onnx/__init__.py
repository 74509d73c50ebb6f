"""Reading ONNX files into a flat graph."""
