"""A model's folder in Hugging Face format, judged from its files alone: no library, no weight is loaded.

The command line looks before it starts anything, the learner and the rollout server when they start; all with the same
functions, so that they cannot differ.
"""
