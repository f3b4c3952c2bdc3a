"""Starting the ranks of one learner pod."""
