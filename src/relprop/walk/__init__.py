"""Relevance goes from the output to the input, op by op."""
