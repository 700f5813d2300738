"""Branch and bound: subproblems, how one is bounded and split, leaves, and the tree over them."""
