"""What an inputs.toml declares beside the firmware: a device that is polled, a gateway, a number, custom mappings."""

__all__ = ["DECLARED"]

DECLARED = """
[espnet.devices]
porch = "192.168.1.40"
[gateways.roof]
token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[numbers]
"/pot" = "seed/pot"
[[custom]]
topic = "garden/+/weather"
device = "{1}"
time = "at"
[custom.values]
temperature = {path = "main.temp[0]", unit = "F"}
[[custom]]
topic = "plant/+/+"
device = "plant-{1}"
sensor = "{2}"
[[custom]]
topic = "log/+"
device = "pump"
each = "data"
time = "t"
"""
