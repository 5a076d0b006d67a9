"""Tells others of alerts: webhooks when one begins and is over, an Alertmanager all that fire, again and again."""
