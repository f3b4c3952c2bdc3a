"""The levels of isolation: runners, how they are kept, and the search for the strongest level that holds."""
