"""Runs InfluxDB 1 behind nginx in the place of InfluxDB 2, from the same variables; ends when either of them ends."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DATA = Path("/var/lib/influxdb2")
CONFIG = f"""\
reporting-disabled = true
bind-address = "127.0.0.1:8088"
[meta]
  dir = "{DATA}/meta"
[data]
  dir = "{DATA}/data"
  wal-dir = "{DATA}/wal"
  query-log-enabled = false
  index-version = "inmem"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:8087"
  log-enabled = false
"""


def answers(path: str, form: dict[str, str] | None = None) -> bool:
    """Tell whether InfluxDB answers; `form` is posted."""
    body = urllib.parse.urlencode(form).encode() if form else None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:8087{path}", body, timeout=5):
            return True
    except urllib.error.URLError:
        return False


def main() -> int:
    """Start both and wait for the first that ends."""
    token = Path(os.environ["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE"]).read_text().strip()
    bucket = os.environ["DOCKER_INFLUXDB_INIT_BUCKET"]
    Path("/tmp/influxdb.conf").write_text(CONFIG)
    Path("/tmp/nginx.conf").write_text(Path("/standin/nginx.conf").read_text().replace("@TOKEN@", token))
    influxd = subprocess.Popen(["influxd", "run", "-config", "/tmp/influxdb.conf"])
    while not answers("/ping"):
        if influxd.poll() is not None:
            return 1
        time.sleep(0.05)
    if not answers("/query", {"q": f'CREATE DATABASE "{bucket}"'}):
        return 1
    nginx = subprocess.Popen(["nginx", "-c", "/tmp/nginx.conf"])
    signal.signal(signal.SIGTERM, lambda *_: influxd.terminate())  # it closes its files; then this program ends
    while influxd.poll() is None and nginx.poll() is None:
        time.sleep(0.2)
    return 1


if __name__ == "__main__":
    sys.exit(main())
