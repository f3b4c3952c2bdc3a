"""Forming a verdict outside the program: tests by printed output, by calls, by assertions and by custom checkers."""
