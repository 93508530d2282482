"""Weights of any format into one file that says how to use them."""
