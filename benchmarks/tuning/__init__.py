"""Tuning in rounds: what is searched, what Optuna asks for, how a round is carried out, and what came of it."""
