"""What watches the cluster: Prometheus' rules, and Grafana's dashboard, which is built here."""
