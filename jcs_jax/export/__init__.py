"""Networks as files for other programs: ONNX for CPU engines, StableHLO for servers."""
