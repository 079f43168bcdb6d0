"""Where people meet the models: the feedback page."""
