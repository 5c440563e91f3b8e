"""A trained model as one file that needs nothing of this program: a torch program, or ONNX."""
