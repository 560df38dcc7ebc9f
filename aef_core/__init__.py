"""AEF companion."""
