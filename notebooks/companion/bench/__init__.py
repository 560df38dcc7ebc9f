"""How fast is a step, against what, and why: ratios measured in pairs, memory, growth."""
