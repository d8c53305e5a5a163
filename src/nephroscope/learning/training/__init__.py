"""How weights are learnt: a fold of slices in, weights and learning curves out."""
