"""Speed and memory of relprop beside plain gradients, zennit and Captum: `python -m benchmarks --help`."""
