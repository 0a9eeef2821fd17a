"""The networks, one idea per file, with no input or output: tensors in, tensors out."""
