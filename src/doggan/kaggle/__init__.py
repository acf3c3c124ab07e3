"""The package on Kaggle: one script that carries it, and what runs there."""
