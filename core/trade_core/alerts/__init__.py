"""Telling people: what is told, how often, and over which channels. Never on the way of an order, a halt or a kill."""
