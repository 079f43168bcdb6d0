"""What the gateway has served, and what came of it."""
