"""The math verifier: two independent checkers over the same stated answer."""
