"""From source text to something that runs: languages, toolchains, and a cache of what was compiled."""
