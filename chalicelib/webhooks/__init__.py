"""Webhooks: how they are signed, what they bring, and how they are taken in."""
