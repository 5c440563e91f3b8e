"""Parts of layers as one kernel forward and one backward, in Triton, for GPUs that run them."""
