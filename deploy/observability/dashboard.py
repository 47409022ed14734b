"""The Grafana dashboard as code: `python -m deploy.observability.dashboard` writes the file."""

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

PATH: Final = Path(__file__).parent / "grafana" / "dashboards" / "orders.json"
_PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
_HEIGHT: Final = 8
_WIDTH: Final = 8
_APIS: Final = 'job=~"command|query", route!~"/health/.*|/metrics"'

Query = tuple[str, str]
"""A query and the legend of its series."""
Panels = dict[str, tuple[str, list[Query]]]
"""By title: unit and queries."""


def _quantile(quantile: float, metric: str, by: str = "") -> str:
    labels = ", ".join(label for label in ("le", by) if label)
    return f"histogram_quantile({quantile}, sum by ({labels}) (rate({metric}_bucket[1m])))"


def _middle_and_tail(metric: str) -> list[Query]:
    return [(_quantile(0.5, metric), "p50"), (_quantile(0.99, metric), "p99")]


ROWS: Final[dict[str, Panels]] = {
    "From a command to its document": {
        "Projection lag": ("s", [("orders:projection_lag_seconds", "behind")]),
        "Events not yet projected": (
            "short",
            [("sum by (topic) (max by (topic, partition) (projection_lag_events))", "{{topic}}")],
        ),
        "Replicas up": ("short", [("orders:replicas_up", "{{job}}")]),
    },
    "Requests": {
        "Requests per second": ("reqps", [("orders:requests:rate1m", "{{job}}")]),
        "Request duration, p99": (
            "s",
            [
                (
                    "histogram_quantile(0.99, sum by (le, job)"
                    f" (rate(http_request_duration_seconds_bucket{{{_APIS}}}[1m])))",
                    "{{job}}",
                )
            ],
        ),
        "Failed requests": ("percentunit", [("orders:error_ratio", "{{job}}")]),
    },
    "Event store": {
        "Commands stored per second": ("short", [("sum(rate(command_batch_size_sum[1m]))", "commands")]),
        "Time to store a batch": ("s", _middle_and_tail("command_append_duration_seconds")),
        "Commands waiting for a writer": ("short", [("sum(command_waiting)", "waiting")]),
    },
    "Relay": {
        "Events published per second": (
            "short",
            [("sum by (topic) (rate(relay_published_total[1m]))", "{{topic}}")],
        ),
        "From commit to published": ("s", _middle_and_tail("relay_publish_latency_seconds")),
        "Outbox": (
            "short",
            [("orders:outbox_events", "events"), ("orders:outbox_oldest_seconds", "oldest, seconds")],
        ),
        "Publishers by shard": ("short", [("orders:shard_publishers", "shard {{shard}}")]),
        "Waiting for an operator": (
            "short",
            [
                ("orders:parked_streams", "dead-lettered streams"),
                ("orders:set_aside_streams", "streams set aside"),
                ("orders:topic_history_missing", "history missing: {{topic}}"),
            ],
        ),
        "Heartbeats per second": (
            "short",
            [("sum by (shard) (rate(relay_heartbeats_total[1m]))", "shard {{shard}}")],
        ),
    },
    "Projection": {
        "Events applied per second": (
            "short",
            [("sum by (topic) (rate(projection_events_total[1m]))", "{{topic}}")],
        ),
        "Time to apply a batch": ("s", _middle_and_tail("projection_apply_seconds")),
        "Events applied by replica": (
            "short",
            [("sum by (instance) (rate(projection_events_total[1m]))", "{{instance}}")],
        ),
    },
    "Projection anomalies": {
        "Missing versions in 10 minutes": ("short", [("orders:holes:increase10m", "{{topic}}")]),
        "Pauses in 10 minutes": (
            "short",
            [("sum by (topic) (increase(projection_faults_total[10m]))", "{{topic}}")],
        ),
        "Partitions restarted in 10 minutes": (
            "short",
            [("sum by (topic) (increase(projection_restarts_total[10m]))", "{{topic}}")],
        ),
    },
    "Processes": {
        "CPU": ("short", [("rate(process_cpu_seconds_total[1m])", "{{job}} {{instance}}")]),
        "Memory": ("bytes", [("process_resident_memory_bytes", "{{job}} {{instance}}")]),
        "Open files and sockets": ("short", [("process_open_fds", "{{job}} {{instance}}")]),
    },
}


def _panel(title: str, unit: str, queries: list[Query]) -> Panel:
    panel = Panel().title(title).unit(unit).min(0).height(_HEIGHT).span(_WIDTH).datasource(_PROMETHEUS)
    for number, (expression, legend) in enumerate(queries):
        query = Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        panel.with_target(query)
    return panel


def built() -> str:
    """The dashboard as JSON."""
    dashboard = (
        Dashboard("Orders").uid("orders").refresh("10s").time("now-30m", "now").timezone("utc").readonly()
    )
    for title, panels in ROWS.items():
        dashboard.with_row(Row(title))
        for name, (unit, queries) in panels.items():
            dashboard.with_panel(_panel(name, unit, queries))
    return JSONEncoder(sort_keys=True, indent=1).encode(dashboard.build()) + "\n"


def main() -> None:
    """Write the file that Grafana reads."""
    PATH.write_text(built())
    print(f"wrote {PATH.name}")


if __name__ == "__main__":
    main()
