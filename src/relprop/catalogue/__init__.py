"""Methods by name: composites, gradients, class activation maps, patterns."""
