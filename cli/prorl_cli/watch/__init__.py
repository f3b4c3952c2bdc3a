"""The live page: a run's report, served on 127.0.0.1 while it grows, with what a person may decide about its resets.

`prorl run --live` serves it from the run's own process, `prorl watch RUN` from a process of its own. Both read the run
folder alone. Whoever has the session's token may read the page and decide about resets; nobody else gets anything.
"""
