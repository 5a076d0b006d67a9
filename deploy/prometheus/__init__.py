"""What Prometheus, Alertmanager and OpenSLO are given of a policy, written from its snapshot; and the demo's."""
