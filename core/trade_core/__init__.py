"""Vocabulary and mechanisms that every service shares; imports no service."""
