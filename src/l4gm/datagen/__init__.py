"""Making training data: animated objects and their renderings."""
