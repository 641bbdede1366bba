"""What differs between the chips, and the few files in which a device remembers.

`sys.platform` is "esp32" or "esp8266" on a board; anything else is a computer
that runs the firmware with the stand-ins of `firmware.sim`.
"""

import binascii
import gc
import os
import sys
import time

import machine

CHIP = sys.platform if sys.platform in ("esp32", "esp8266") else "virtual"
ESP8266 = CHIP == "esp8266"
# Readings kept while there is no broker. A waiting reading takes about 50 bytes; the ESP8266 has 16 kB to spare.
RING_READINGS = 100 if ESP8266 else 600
# After a start that failed: a device that restarts in a circle must not wear out its flash. (The virtual board waits.)
PAUSE_S = 0 if CHIP == "virtual" else 10

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_CAUSES = ("unknown", "power-on", "hard", "watchdog", "deep-sleep", "soft")
_last_ticks = 0
_total_ms = 0


def now_ms() -> int:
    """Return milliseconds of a clock that only goes forward.

    `ticks_ms` wraps after 12 days, so the differences are added up; call this at least once in 6 days.
    """
    global _last_ticks, _total_ms
    if not hasattr(time, "ticks_ms"):  # CPython
        return time.monotonic_ns() // 1000000
    ticks = time.ticks_ms()
    _total_ms += time.ticks_diff(ticks, _last_ticks)
    _last_ticks = ticks
    return _total_ms


def clock_s() -> "float | None":
    """Return seconds since 1970, None while the chip's clock has not been set.

    Boards count from 2000 and in whole seconds: their floats have 7 digits.
    """
    now_s = time.time()
    if time.gmtime(0)[0] == 2000:
        now_s += 946684800
    if now_s < 1735689600:  # 2025: this firmware is younger
        return None
    return round(now_s, 3) if CHIP == "virtual" else int(now_s)


def random_name(size: int) -> str:
    """Return `size` random characters of a-z0-9: the name of this start."""
    return "".join(_LETTERS[byte % 36] for byte in os.urandom(size))


def heap_bytes() -> int:
    """Return the free heap in bytes, 0 where the interpreter cannot say."""
    gc.collect()
    return gc.mem_free() if hasattr(gc, "mem_free") else 0


def engine() -> str:
    """Return the interpreter and its version: "micropython 1.25.0"."""
    return sys.implementation.name + " " + ".".join(str(part) for part in sys.implementation.version[:3])


def watchdog(timeout_s: int) -> object:
    """Return the started hardware watchdog.

    The ESP8266 has one fixed time only; any other value than its own raises ValueError there.
    """
    return machine.WDT() if ESP8266 else machine.WDT(timeout=timeout_s * 1000)


def output(config: dict):
    """Return `drive(value)` for the output that a pin's `config` describes, set to its boot value from the start."""
    low = bool(config.get("active_low"))
    if "pwm_hz" in config:
        pwm = machine.PWM(machine.Pin(config["gpio"]), freq=config["pwm_hz"], duty_u16=65535 if low else 0)

        def drive(value: float) -> None:
            duty = int(value * 65535 / config.get("max", 1))
            pwm.duty_u16(65535 - duty if low else duty)

        return drive
    boot = bool(config.get("boot", config.get("safe", 0)))
    pin = machine.Pin(config["gpio"], machine.Pin.OUT, value=int(boot != low))
    return lambda value: pin.value(int(bool(value) != low))


def reset_cause() -> str:
    """Return why the chip started, in a word."""
    cause = machine.reset_cause()
    return _CAUSES[cause] if 0 <= cause < len(_CAUSES) else "unknown"


def trust(name: str):
    """Return a TLS context that takes only certificates which the authority in the file `name` (PEM) has signed.

    An ESP32 checks their dates too, and believes it is 2000 until its clock is set: those of `setup` begin earlier.

    Raises:
        ValueError: this chip cannot check certificates, or the file holds none.
    """
    if ESP8266:  # its TLS (axTLS) encrypts for whoever answers
        raise ValueError("mqtt.tls: the ESP8266 cannot check certificates; without tls, in a network that you trust")
    import tls

    der = binascii.a2b_base64("".join(line.strip() for line in load(name).split("\n") if line[:5] != "-----"))
    if not der:
        raise ValueError("mqtt.tls.ca: no certificate in " + repr(name))
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(der)
    return context


def load(name: str) -> str:
    """Return the text of a file of the device, "" when there is none."""
    try:
        with open(name) as file:
            return file.read()
    except OSError:
        return ""


def save(name: str, text: str) -> None:
    """Write a file of the device whole: after a power cut it is the old one or the new one."""
    with open(name + ".new", "w") as file:
        file.write(text)
    os.rename(name + ".new", name)


def remove(name: str) -> None:
    """Delete a file of the device, if it is there."""
    try:
        os.remove(name)
    except OSError:
        pass


def count_boot() -> None:
    """Add one to the number of starts."""
    save("boots", str(boots() + 1))


def boots() -> int:
    """Return the number of starts so far."""
    return int(load("boots") or 0)


def reset(reason: str) -> None:
    """Restart the chip and leave `reason` for the next start."""
    save("reason", reason)
    print("reset:", reason)
    machine.reset()
