"""How the embedded generators are trained: one critic, one trainer, four recipes, one judge."""
