"""One recorded forward pass: values, the nodes that made them, and whose picture each number is."""
