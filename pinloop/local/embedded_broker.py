"""The broker of local mode where no mosquitto is installed: amqtt with our users and our ACL.

Good for trying Pinloop. It keeps nothing over a restart and queues nothing for
a listener that is away; the services put back what is retained, and the
screen says which broker runs.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

from contract.limits import MAX_PAYLOAD_BYTES
from inputs import load
from pinloop.broker_files import acl_text

__all__ = ["Acl", "main", "write_users"]


class Acl:
    """Mosquitto's ACL file, as far as `acl_text` uses it.

    Source: mosquitto.conf(5), acl_file.
    """

    def __init__(self, text: str) -> None:
        self._topics: dict[str, list[tuple[str, str]]] = {}
        self._patterns: list[tuple[str, str]] = []
        user = ""
        for line in text.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "user":
                user = rest
            elif kind == "topic":
                right, _, wanted = rest.partition(" ")
                self._topics.setdefault(user, []).append((right, wanted))
            elif kind == "pattern":
                right, _, wanted = rest.partition(" ")
                self._patterns.append((right, wanted))

    def allows(self, user: str, topic: str, write: bool) -> bool:
        """Tell whether `user` may write to, or read from, `topic`."""
        matching = [right for right, wanted in self._rights(user) if paho.topic_matches_sub(wanted, topic)]
        if "deny" in matching:
            return False
        return "readwrite" in matching or ("write" if write else "read") in matching

    def allows_subscription(self, user: str, asked: str) -> bool:
        """Tell whether one of the user's rights to read covers every topic that the filter `asked` can match."""
        return any(right in ("read", "readwrite") and _covers(wanted, asked) for right, wanted in self._rights(user))

    def _rights(self, user: str) -> list[tuple[str, str]]:
        patterns = [(right, wanted.replace("%u", user)) for right, wanted in self._patterns]
        return self._topics.get(user, []) + patterns


def _covers(wanted: str, asked: str) -> bool:
    levels = asked.split("/")
    for number, level in enumerate(wanted.split("/")):
        if level == "#":
            return True
        if number >= len(levels) or levels[number] == "#" or level not in ("+", levels[number]):
            return False
    return len(levels) == len(wanted.split("/"))


class UsersPlugin(BaseAuthPlugin):
    """Admits the users of `users.json`; nobody else, and nobody without a name."""

    @dataclass
    class Config:
        """Where the users are."""

        users_path: str = ""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        path = Path(self._get_config_option("users_path"))
        self._users: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))

    async def authenticate(self, *, session: Any) -> bool:
        """Compare the password; amqtt calls this for every CONNECT."""
        expected = self._users.get(session.username or "")
        given = session.password or ""
        return expected is not None and hmac.compare_digest(expected.encode(), given.encode())


class AclPlugin(BaseTopicPlugin):
    """Applies `acl_text` at publish, subscription and delivery.

    Mosquitto grants every subscription and filters what it delivers; amqtt does not filter retained messages, so
    here a subscription that reaches beyond the user's rights is refused.
    """

    @dataclass
    class Config:
        """The ACL file; where there is none, what it is made of: first level(s), and the file of other firmware."""

        prefix: str = "pinloop"
        inputs_path: str = ""
        acl_path: str = ""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        path = Path(self._get_config_option("acl_path"))
        if path.is_file():
            self._acl = Acl(path.read_text(encoding="utf-8"))
        else:
            inputs = load(Path(self._get_config_option("inputs_path")))
            self._acl = Acl(acl_text(self._get_config_option("prefix"), inputs))

    async def topic_filtering(self, *, session: Any = None, topic: str | None = None, action: Any = None) -> bool:
        """Tell amqtt whether the action may go on."""
        if not session or not topic:
            return False
        user = session.username or ""
        if action == Action.SUBSCRIBE:
            return self._acl.allows_subscription(user, topic)
        return self._acl.allows(user, topic, write=action == Action.PUBLISH)


class OwnSubscriptionsBroker(Broker):
    """amqtt 0.12 sends a client that connects the retained messages of everybody's subscriptions; this one does not."""

    async def _publish_retained_messages_for_subscription(self, subscription: Any, session: Any) -> None:
        holders = self._subscriptions.get(subscription[0], [])
        if any(holder.client_id == session.client_id for holder, _ in holders):
            await super()._publish_retained_messages_for_subscription(subscription, session)


def write_users(path: Path, users: dict[str, str]) -> None:
    """Write the user file; only the owner may read it, it holds the passwords themselves."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(users), encoding="utf-8")


async def _serve(bind: str, port: int, folder: Path, inputs_path: str) -> None:
    config = BrokerConfig(
        listeners={"default": ListenerConfig(bind=f"{bind}:{port}", max_connections=2000)},
        plugins={
            f"{__name__}.UsersPlugin": {"users_path": str(folder / "users.json")},
            f"{__name__}.AclPlugin": {"inputs_path": str(inputs_path), "acl_path": str(folder / "acl")},
        },
    )
    broker = OwnSubscriptionsBroker(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await broker.start()
    print(f"amqtt listens on {bind}:{port}; largest payload {MAX_PAYLOAD_BYTES} bytes", flush=True)
    await stop.wait()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(broker.shutdown(), 5)


def main(argv: list[str]) -> int:
    """Serve until SIGTERM: `embedded_broker BIND PORT FOLDER [INPUTS]`, with `users.json` in the folder."""
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    bind, port, folder, *inputs_path = argv
    asyncio.run(_serve(bind, int(port), Path(folder), "".join(inputs_path)))
    return 0


if __name__ == "__main__":
    # Imported again under its real name, so that amqtt's plugin loader and this module share one class.
    from pinloop.local import embedded_broker

    sys.exit(embedded_broker.main(sys.argv[1:]))
