"""The own checker of mathematics: a reader that fixes the shape of an answer, and an exact comparison within it."""
