"""What can be chosen, without loading any of it."""

ENGINES = ("onnxruntime", "openvino")
PRECISIONS = ("float32", "bfloat16")
