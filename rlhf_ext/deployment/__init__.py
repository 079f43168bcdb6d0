"""Where people meet the models: the gateway with its experiments, filters and monitoring, and the feedback page."""
