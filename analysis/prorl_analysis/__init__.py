"""What evaluations say: pass@k, intervals, and what training moved across the boundary of the base model."""
