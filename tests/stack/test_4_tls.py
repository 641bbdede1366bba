"""TLS on the running stack: a device from outside, then everything inside, with the certificates that setup made."""

import ssl
import urllib.request
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.stack.checks import until_pins
from tests.stack.compose import Stack
from tests.stack.load import Wishes
from tests.support.wait import until

OURS = ("listener", "webhook", "rules", "hub", "demo-pot", "demo-lights")
PLAIN, TLS = ":075B 01 ", ":22B3 01 "  # /proc/net/tcp: port 1883 or 8883 on the far side, established


def connected(stack: Stack, service: str, port: str) -> bool:
    """Tell whether a container holds a connection to that port of the broker."""
    return port in stack.execute(service, "cat", "/proc/net/tcp")


def test_a_device_speaks_tls_with_the_certificate_that_setup_prints(stack: Stack, tmp_path: Path) -> None:
    """As docs/tls.md says it; its reading is stored."""
    ca_path = tmp_path / "ca.pem"
    ca_path.write_text(stack.compose("run", "--rm", "setup", "ca"))
    device = paho.Client(CallbackAPIVersion.VERSION2, client_id="safe")
    device.username_pw_set("safe", stack.add_device("safe"))
    device.tls_set(str(ca_path))
    device.connect(stack.host, stack.ports["MQTT_TLS_PORT"])
    device.loop_start()
    try:
        device.publish("pinloop/safe/reading/level", "7", qos=1).wait_for_publish(5)
        until(lambda: stack.query("SELECT level FROM readings WHERE device = 'safe'"), 10, "its reading")
    finally:
        device.disconnect()
        device.loop_stop()

    stranger = paho.Client(CallbackAPIVersion.VERSION2)
    stranger.tls_set()  # the system's authorities
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.connect(stack.host, stack.ports["MQTT_TLS_PORT"])


def test_listener_webhook_and_console_answer_over_https(stack: Stack, tmp_path: Path) -> None:
    """With the same authority, at ports of their own; the containers' health checks go on asking the plain ones."""
    ca_path = tmp_path / "ca.pem"
    ca_path.write_text(stack.compose("run", "--rm", "setup", "ca"))
    context = ssl.create_default_context(cafile=str(ca_path))
    for name in ("LISTENER", "WEBHOOK", "CONSOLE"):
        url = f"https://{stack.host}:{stack.ports[f'{name}_TLS_PORT']}/healthz"
        with urllib.request.urlopen(url, context=context, timeout=5) as answer:
            assert answer.status == 200


def test_services_and_virtual_devices_go_over_to_tls(stack: Stack, wishes: Wishes) -> None:
    """One word in .env and `up` again; the broker is not even restarted, and the loop is closed as before."""
    assert all(connected(stack, service, PLAIN) for service in OURS)
    started = stack.inspect("mosquitto")["State"]["StartedAt"]

    stack.switch(MQTT_SECURITY="tls")

    for service in OURS:
        assert connected(stack, service, TLS), service
        assert not connected(stack, service, PLAIN), service
    assert stack.inspect("mosquitto")["State"]["StartedAt"] == started
    for value in (1, 0):
        wishes.red(value)
        wishes.green(value)
        until_pins(stack, {"red": value, "green": value})
