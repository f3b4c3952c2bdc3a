"""What a job will take before it runs: work, memory, time, and what does not fit. Pure; `prorl plan` prints it."""
