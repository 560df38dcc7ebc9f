"""What only the notebooks need: studies, figures, views, claims, timing, training."""
