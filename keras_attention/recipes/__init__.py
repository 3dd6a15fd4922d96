"""Recipes that train a task from data to a saved folder."""
