"""Settings: one declaration feeds parsing, `--help`, the sample file and the docs.

A service declares a frozen dataclass of `setting(...)` fields. `load` fills it
from, in rising order: defaults, `pinloop.toml`, `PINLOOP_*` variables (each
also as `PINLOOP_*_FILE`), flags. A bad value is one clear line and exit 2.
"""

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from service.errors import SettingsError
from service.tls import trusting
from service.tls_serving import serving
from service.usage import help_text, version
from service.variables import tell_unknown

__all__ = ["Declared", "HttpSettings", "LogSettings", "MqttSettings", "declared", "load", "read", "setting"]

S = TypeVar("S")


@dataclass(frozen=True)
class Declared:
    """One setting as it was declared.

    Attributes:
        name: snake_case, with its unit at the end.
        kind: str, int, float, bool or Path.
        own: declared by the service itself (False: by a shared mixin).
        least, most, choices: what the value must keep to, None for no limit.
    """

    name: str
    kind: type
    default: Any
    help: str
    least: float | None
    most: float | None
    choices: tuple[str, ...] | None
    secret: bool
    own: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def variables(self, service: str) -> list[str]:
        """Return the environment variables that set it, the strongest first."""
        return [f"PINLOOP_{service}_{self.name}".upper(), f"PINLOOP_{self.name}".upper()]


def setting(
    default: Any,
    help: str,  # noqa: A002  (the word every reader expects here)
    *,
    least: float | None = None,
    most: float | None = None,
    choices: Sequence[str] | None = None,
    secret: bool = False,
) -> Any:
    """Declare a setting as a dataclass field; `help` is a sentence that names the unit."""
    metadata = {"help": help, "least": least, "most": most, "choices": choices, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


class _Checked:
    """What the shared settings have in common, so that each of them looks at its own files."""

    def __post_init__(self) -> None:
        """Nothing is left to look at."""


@dataclass(frozen=True, kw_only=True)
class MqttSettings(_Checked):
    """How a service reaches the broker."""

    mqtt_host: str = setting("127.0.0.1", "Host name or address of the MQTT broker.")
    mqtt_port: int = setting(1883, "TCP port of the MQTT broker.", least=1, most=65535)
    mqtt_user: str = setting("", "User name at the broker; empty: none.")
    mqtt_password: str = setting("", "Password at the broker.", secret=True)
    mqtt_prefix: str = setting("pinloop", "First level(s) of every topic.")
    mqtt_keepalive_s: int = setting(15, "Seconds of silence after which a ping is sent.", least=1, most=600)
    mqtt_ca_path: Path = setting(Path(), "CA certificate (PEM) to trust; empty: no TLS.")

    def __post_init__(self) -> None:
        """Look at the CA's certificate before anything is started.

        Raises:
            SettingsError: it cannot be used.
        """
        super().__post_init__()
        if self.mqtt_ca_path.name:
            trusting(self.mqtt_ca_path)


@dataclass(frozen=True, kw_only=True)
class HttpSettings(_Checked):
    """Where a service listens for HTTP and, with a certificate, for HTTPS as well."""

    http_host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 for every interface.")
    http_port: int = setting(8080, "TCP port to listen on; 0 takes a free one.", least=0, most=65535)
    http_tls_cert_path: Path = setting(
        Path(), "Certificate (chain, PEM) of the HTTPS port; empty: there is no such port."
    )
    http_tls_key_path: Path = setting(Path(), "Its private key (PEM); empty: it is in the certificate's file.")
    http_tls_host: str = setting("0.0.0.0", "Address to listen on for HTTPS; 0.0.0.0 for every interface.")  # noqa: S104
    http_tls_port: int = setting(8440, "TCP port for HTTPS; 0 takes a free one.", least=0, most=65535)

    def __post_init__(self) -> None:
        """Look at the certificate and its key before anything is started.

        Raises:
            SettingsError: they cannot be used.
        """
        super().__post_init__()
        if self.http_tls_cert_path.name:
            serving(self.http_tls_cert_path, self.http_tls_key_path)
        elif self.http_tls_key_path.name:
            raise SettingsError(
                f"--http-tls-key-path: {str(self.http_tls_key_path)!r} needs the certificate: --http-tls-cert-path"
            )


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What a service logs and how."""

    log_level: str = setting("info", "Least level that is logged.", choices=("debug", "info", "warning", "error"))
    log_format: str = setting("auto", "auto: human on a terminal, JSON otherwise.", choices=("auto", "human", "json"))


def declared(cls: type) -> list[Declared]:
    """Return the settings that a dataclass declares, the service's own first."""
    hints = get_type_hints(cls)
    own = set(vars(cls).get("__annotations__", {}))
    found = [
        Declared(f.name, hints[f.name], f.default, **{**f.metadata, "own": f.name in own})
        for f in fields(cls)
        if "help" in f.metadata
    ]
    return sorted(found, key=lambda one: not one.own)


def load(service: str, cls: type[S], argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> S:
    """Return the settings of `service`, or end the process: 0 after --help or --version, 2 with one line on stderr.

    Args:
        service: its name, the table in `pinloop.toml` and the middle of its variables.
        cls: a frozen dataclass of `setting(...)` fields.
        argv: flags, without the program's name.
    """
    if "--help" in argv or "-h" in argv:
        print(help_text(service, cls.__doc__ or "", declared(cls)), end="")  # noqa: T201
        raise SystemExit(0)
    if "--version" in argv:
        print(f"{service} {version()}")  # noqa: T201
        raise SystemExit(0)
    tell_unknown(service, environ, {service: [one.name for one in declared(cls)]})
    try:
        return read(service, cls, argv, environ)
    except SettingsError as error:
        print(f"{service}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def read(service: str, cls: type[S], argv: Sequence[str], environ: Mapping[str, str]) -> S:
    """Return the settings of `service`.

    Raises:
        SettingsError: an unknown flag or key, or a value that breaks its rule; it names where the value came from.
    """
    known = declared(cls)
    flags = _flags(known, argv)
    path = flags.pop("config", None) or environ.get("PINLOOP_CONFIG")
    table = _table(service, known, path)
    values: dict[str, Any] = {}
    for one in known:
        found = _environment(service, one, environ)
        if one.name in flags:
            found = (one.flag, flags[one.name])
        if found:
            values[one.name] = _convert(one, *found)
        elif one.name in table:
            values[one.name] = _convert(one, f"{path}: {one.name}", table[one.name])
    return cls(**values)


def _flags(known: Sequence[Declared], argv: Sequence[str]) -> dict[str, str]:
    """Return name -> text for `--name value` and `--name=value`; a bool flag may stand alone."""
    by_flag = {one.flag: one for one in known}
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag != "--config" and flag not in by_flag:
            raise SettingsError(f"{flag}: is not a flag{_nearest(flag, by_flag)}; --help lists them")
        if not equals:
            alone = flag in by_flag and by_flag[flag].kind is bool and (not rest or rest[0].startswith("--"))
            if not alone and not rest:
                raise SettingsError(f"{flag}: needs a value")
            value = "true" if alone else rest.pop(0)
        found["config" if flag == "--config" else by_flag[flag].name] = value
    return found


def _environment(service: str, one: Declared, environ: Mapping[str, str]) -> tuple[str, str] | None:
    for variable in one.variables(service):
        if variable in environ:
            return variable, environ[variable]
        path = environ.get(variable + "_FILE")
        if path is not None:
            try:
                return variable + "_FILE", Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeError) as error:
                # Going on with the default would run a service with an empty password.
                raise SettingsError(f"{variable}_FILE: {path!r} cannot be read ({error})") from None
    return None


def _table(service: str, known: Sequence[Declared], path: str | None) -> dict[str, Any]:
    """Return the settings in the file: its top level for every service, below them the service's own table."""
    if not path:
        return {}
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config: {path!r} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise SettingsError(f"{path}: is not TOML ({error})") from None
    if document.pop("version", 1) != 1:
        raise SettingsError(f"{path}: version must be 1")
    own = document.pop(service, {})
    shared = {key: value for key, value in document.items() if not isinstance(value, dict)}
    names = [one.name for one in known]
    common = [one.name for one in known if not one.own]
    for table, allowed in ((shared, common), (own, names)):
        for key in table:
            if key not in allowed:
                raise SettingsError(f"{path}: {key}: is not a setting of {service}{_nearest(key, allowed)}")
    return {**shared, **own}


def _nearest(word: str, words: Any) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _convert(one: Declared, where: str, value: Any) -> Any:
    shown = "(hidden)" if one.secret else repr(value)
    if one.kind is bool:
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() not in known:
            raise SettingsError(f"{where}: {shown} is not true or false")
        return known[str(value).lower()]
    try:
        converted = one.kind(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{where}: {shown} is not {_NOUNS[one.kind]}") from None
    if one.choices and converted not in one.choices:
        raise SettingsError(
            f"{where}: {shown} is not one of {', '.join(one.choices)}{_nearest(converted, one.choices)}"
        )
    if (one.least is not None and converted < one.least) or (one.most is not None and converted > one.most):
        limits = " and ".join(
            text
            for limit, text in ((one.least, f"at least {one.least}"), (one.most, f"at most {one.most}"))
            if limit is not None
        )
        raise SettingsError(f"{where}: {shown} must be {limits}")
    return converted


_NOUNS = {int: "a whole number", float: "a number", str: "text", Path: "a path"}
