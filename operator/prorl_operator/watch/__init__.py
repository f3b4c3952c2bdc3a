"""What the operator hears of the cluster: watches, their indexes, handlers and the queue of jobs to look at."""
