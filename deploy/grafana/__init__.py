"""Dashboards for Grafana, written from the names of our metrics; and the files for the demo."""
