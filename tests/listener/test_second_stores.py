"""The setting `second_stores`: every kind, and what is wrong with it in one sentence."""

import pytest

from listener.second_stores import second_stores
from listener.settings import Settings
from service.errors import SettingsError


def test_every_kind_is_made() -> None:
    """Nothing is connected by that."""
    stores = second_stores(
        Settings(
            second_stores="copy=sqlite:x/copy.db, cloud=https://h:8086/?org=o&bucket=b,dd=datadog:datadoghq.eu,out=stdout:",
            second_store_tokens="cloud=secret",
        ),
        {"DATADOG_API_KEY": "k"},
    )
    assert {name: type(sink).__name__ for name, (sink, _) in stores.items()} == {
        "copy": "SqliteStore", "cloud": "InfluxStore", "dd": "DatadogSink", "out": "JsonLinesSink",
    }  # fmt: skip
    assert second_stores(Settings(), {}) == {}


@pytest.mark.parametrize(
    ("urls", "tokens", "says"),
    [
        ("copy", "", "second_stores: 'copy' is not NAME="),
        ("main=sqlite:x", "", "none of them 'main'"),
        ("a=sqlite:x,a=sqlite:y", "", "each name once"),
        ("A B=sqlite:x", "", "is not NAME="),
        ("a=postgres:x", "", "second_stores: a: 'postgres:x' is none of"),
        ("a=sqlite:", "", "is none of"),
        ("a=stdout:x", "", "is none of"),
        ("a=http://h:8086", "", "needs ?bucket=NAME"),
        ("a=http://ana:secret@h:8086/?bucket=b", "", "(hidden) has an '@' in it"),
        ("a=datadog:", "", "needs datadog_api_key or DATADOG_API_KEY"),
        ("a=sqlite:x", "b=secret", "second_store_tokens: 'b' is none of second_stores"),
        ("a=sqlite:x", "=secret", "second_store_tokens: ''"),
    ],
)
def test_what_is_wrong_is_said(urls: str, tokens: str, says: str) -> None:
    """Without the secret."""
    with pytest.raises(SettingsError) as caught:
        second_stores(Settings(second_stores=urls, second_store_tokens=tokens), {})
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
