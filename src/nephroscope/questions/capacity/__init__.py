"""How large must a network be: AUC by case against the number of weights, on the study's folds."""
