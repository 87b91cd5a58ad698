"""What fixed expectations do not see: rows unlike the history of their series, runs unlike earlier runs."""

from chalicelib.anomalies.declaration import Anomaly, problems

__all__ = ["Anomaly", "problems"]
