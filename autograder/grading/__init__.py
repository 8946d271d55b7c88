"""A submission's way: collected, read, made a job, graded here or on a cluster, remembered."""
