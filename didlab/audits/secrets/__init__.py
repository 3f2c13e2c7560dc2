"""Secrets in files, environment, labels and history: rules, and what is shown in their place."""
