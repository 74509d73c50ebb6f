"""Model files (ONNX, NIR, the .snn language) to graph IR."""
