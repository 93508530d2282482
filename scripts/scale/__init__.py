"""What a study costs when it is large: stores of synthetic rows, and the shares of a real one's time."""
