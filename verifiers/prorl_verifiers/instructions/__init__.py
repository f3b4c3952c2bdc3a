"""Instruction following: IFEval's 25 types as checks of text, each a pure function."""
