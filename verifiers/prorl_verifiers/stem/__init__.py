"""The verifier of science questions: choices, quantities with units, and expressions."""
