"""The math verifier: the own checker over the stated answer, and math-verify for single formulas."""
