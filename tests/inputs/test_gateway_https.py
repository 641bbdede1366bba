"""The example of inputs/gateway/README.md, run by a real MicroPython against the port for HTTPS."""

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from firmware.sim.engine import EngineError, find
from service.health import Health
from service.http import HttpServer
from service.settings import HttpSettings
from tests.support.https import Authority
from tests.support.requirements import missing

PAGE = Path(__file__).parents[2] / "inputs" / "gateway" / "README.md"


def test_a_gateway_in_micropython_posts_over_https_to_our_listener_only(tmp_path: Path):
    """As the page shows it: with the right authority it is answered, with another one nothing leaves the gateway."""
    try:
        engine = find("micropython")
    except EngineError as error:
        missing(str(error))
    seen: list[tuple[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append((environ["HTTP_AUTHORIZATION"], json.loads(environ["wsgi.input"].read())))
        start_response("200 OK", [])
        return [b"{}"]

    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    settings = {"http_port": 0, "http_tls_port": 0, "http_tls_host": "127.0.0.1"}
    cert = authority.put(tmp_path / "listener.pem")
    server = HttpServer(HttpSettings(**settings, http_tls_cert_path=cert), Health("listener"), app)  # type: ignore[arg-type]
    server.start()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    items = [{"name": "aa:bb", "humidity": 40.5}]
    answers = []
    for host, ca_path in (
        ("localhost", authority.ca_path),
        ("127.0.0.1", authority.ca_path),
        ("localhost", other.ca_path),
    ):
        call = f"post({host!r}, {server.tls_port}, open({str(ca_path)!r}).read(), 'a-token', {items!r})"
        script = tmp_path / "gateway.py"
        script.write_text(f"{code}\nprint({call})\n")
        environ = {**os.environ, **engine.env}
        done = subprocess.run([*engine.argv, script], env=environ, capture_output=True, text=True, timeout=20)
        answers.append(done.stdout.strip() or done.stderr)
    server.stop()
    assert answers[:2] == ["200", "200"]
    assert re.search("^(OSError|ValueError): ", answers[2], re.MULTILINE), answers
    assert seen == [("Bearer a-token", {"data": items})] * 2
