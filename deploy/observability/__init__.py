"""Monitoring of the cluster: Prometheus rules, and the Grafana dashboard, which is built here."""
