"""How a network learns on one fold: batches, steps, checkpoints and learning curves. The only room that trains."""
