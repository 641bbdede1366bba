"""Hashes, signatures, replays, tokens and the throttle, without a process."""

import errno
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import Headers
from werkzeug.security import generate_password_hash

from service.signing import sign
from webhook.access import basic
from webhook.access.basic import BasicUsers, Busy
from webhook.access.replays import Full, Replays
from webhook.access.scopes import ACTUATE, ADMIN, ALERT, READ
from webhook.access.signature import HEADERS, Signatures
from webhook.access.throttle import Throttle, address_of
from webhook.access.tokens import TokenError, Tokens, create, listed, revoke
from webhook.problems import Refusal

PAYLOADS = Path(__file__).parent / "payloads"
VECTOR = json.loads((PAYLOADS / "hmac_vector.json").read_text())
BODY = (PAYLOADS / "hmac_body.bin").read_bytes()
SIGNED_S = int(VECTOR["timestamp"])
STAMP = "X-Grafana-Alerting-Timestamp"
CHEAP = "scrypt:1024:8:1"  # a hash that costs the tests nothing


class Clock:
    """A clock that the test sets."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replays(tmp_path: Path) -> Replays:
    return Replays(tmp_path / "used", SIGNED_S)


def headers(signature: str = VECTOR["signature_with_timestamp"], seconds: str = VECTOR["timestamp"]) -> Headers:
    return Headers({HEADERS[0]: signature, STAMP: seconds})


def reason(check: Callable[[], object]) -> str:
    """Return why a check refuses."""
    with pytest.raises(Refusal) as caught:
        check()
    return caught.value.reason


# --- Basic users ---


@pytest.mark.parametrize("hashed", [False, True])
def test_a_user_is_known_by_a_secret_stored_as_it_is_or_hashed(hashed: bool, clock: Clock):
    """And by nothing else: not by the hash itself, not by another's password, not by nobody's name."""
    stored = generate_password_hash("plain-secret", CHEAP) if hashed else "plain-secret"
    users = BasicUsers({"ana": stored, "bob": "other"}, Throttle(clock=clock), clock)
    assert users.knows("ana", "plain-secret", "a")
    assert not users.knows("ana", "wrong", "b")
    assert not users.knows("ana", "other", "b")
    assert not users.knows("carl", "plain-secret", "b")
    assert not users.knows("carl", "\0" * 32, "b")
    assert users.knows("ana", stored, "b") is not hashed


def test_what_was_right_is_remembered_for_five_minutes_and_costs_microseconds(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """Only what was right: a wrong password is hashed each time."""
    users = BasicUsers({"ana": generate_password_hash("right", CHEAP)}, Throttle(clock=clock), clock)
    hashed: list[str] = []
    real = basic.check_password_hash
    monkeypatch.setattr(basic, "check_password_hash", lambda *given: hashed.append(given[1]) or real(*given))
    for _ in range(1000):
        assert users.knows("ana", "right", "a")
    assert not users.knows("ana", "wrong", "a")
    assert not users.knows("ana", "wrong", "a")
    assert hashed == ["right", "wrong", "wrong"]
    clock.now_s += 300
    assert users.knows("ana", "right", "a")
    assert hashed[3:] == ["right"]
    began_s = time.perf_counter()
    for _ in range(1000):
        users.knows("ana", "right", "a")
    assert time.perf_counter() - began_s < 0.1  # a real hash takes 80 s for as many


def test_an_unknown_name_costs_the_same_hash_as_a_known_one(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    """Otherwise the time of the answer would tell which names exist."""
    users = BasicUsers({"ana": generate_password_hash("right", CHEAP)}, Throttle(clock=clock), clock)
    methods: list[str] = []
    real = basic.check_password_hash

    def check(stored: str, password: str) -> bool:
        methods.append(stored.split("$")[0])
        return real(stored, password)

    monkeypatch.setattr(basic, "check_password_hash", check)
    users.knows("ana", "wrong", "a")
    users.knows("nobody", "wrong", "a")
    assert methods == [CHEAP, CHEAP]


def test_few_hashes_are_checked_at_a_time_and_one_place_is_kept_for_who_was_right_before(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """Strangers that ask for checks all day cannot keep a known sender out."""
    users = BasicUsers({"ana": generate_password_hash("right", CHEAP)}, Throttle(clock=clock), clock)
    assert users.knows("ana", "right", "home")
    clock.now_s += 301
    inside, go_on = threading.Semaphore(0), threading.Event()
    real = basic.check_password_hash

    def slow(*given: str) -> bool:
        if given[1] == "guess":
            inside.release()
            go_on.wait(5)
        return real(*given)

    monkeypatch.setattr(basic, "check_password_hash", slow)
    guessers = [threading.Thread(target=users.knows, args=("ana", "guess", f"stranger-{n}")) for n in range(2)]
    for one in guessers:
        one.start()
    assert all(inside.acquire(timeout=5) for _ in guessers)
    with pytest.raises(Busy):
        users.knows("ana", "guess", "stranger-3")
    assert users.knows("ana", "right", "home")
    go_on.set()
    for one in guessers:
        one.join(5)


# --- the throttle ---


def test_an_address_that_is_wrong_too_often_has_to_wait_and_no_other_does(clock: Clock):
    """20 at once, then one each 5 s."""
    throttle = Throttle(clock=clock)
    tripped = [throttle.failed("bad") for _ in range(25)]
    assert [n for n, trip in enumerate(tripped, 1) if trip] == [20]
    assert throttle.wait_s("bad") == 5
    assert throttle.wait_s("good") == 0
    clock.now_s += 5
    assert throttle.wait_s("bad") == 0


def test_a_flood_of_addresses_takes_bounded_memory(clock: Clock):
    """And an address that the flood pushed out is a new one."""
    throttle = Throttle(clock=clock)
    for number in range(10_000):
        throttle.failed(str(number))
    assert len(throttle._left) == 4096


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_one_machine_is_one_address(given: str, counted: str):
    """It has all the addresses of its IPv6 network."""
    assert address_of(given) == counted


# --- signatures ---


def test_grafanas_signature_is_right_under_both_header_names(tmp_path: Path):
    """The vector was made from Grafana's sources."""
    for number, name in enumerate(HEADERS):
        signatures = Signatures(VECTOR["secret"], STAMP, Replays(tmp_path / str(number), SIGNED_S))
        given = Headers({name: VECTOR["signature_with_timestamp"], STAMP: VECTOR["timestamp"]})
        assert signatures.given(given)
        signatures.check(given, BODY, SIGNED_S)


_WRONG = [
    ("signature", Headers({STAMP: VECTOR["timestamp"]}), BODY),
    ("signature", headers("0" * 64), BODY),
    ("signature", headers("nothex"), BODY),
    ("signature", headers(VECTOR["signature_with_timestamp"] + "00"), BODY),
    ("signature", headers(), BODY + b" "),
    ("signature", headers(seconds=str(SIGNED_S + 1)), BODY),
    (
        "signature",
        Headers({HEADERS[0]: VECTOR["signature_with_timestamp"], HEADERS[1]: "0" * 64, STAMP: str(SIGNED_S)}),
        BODY,
    ),
    ("timestamp", Headers({HEADERS[0]: VECTOR["signature_without_timestamp"]}), BODY),
    ("timestamp", headers(seconds="-1"), BODY),
    ("timestamp", headers(seconds="1e9"), BODY),
    ("timestamp", headers(seconds="\u0661"), BODY),
    ("timestamp", headers(seconds="9" * 400), BODY),
]


@pytest.mark.parametrize(("why", "given", "body"), _WRONG, ids=range(len(_WRONG)))
def test_a_wrong_signature_or_time_is_refused(replays: Replays, why: str, given: Headers, body: bytes):
    """Missing, of another body, of another time, without a time, not a number, two that differ."""
    signatures = Signatures(VECTOR["secret"], STAMP, replays)
    assert reason(lambda: signatures.check(given, body, SIGNED_S)) == why
    signatures.check(headers(), BODY, SIGNED_S)  # nothing wrong was remembered as used


@pytest.mark.parametrize("apart_s", [-301, 301])
def test_a_signature_counts_for_five_minutes_around_its_time(replays: Replays, apart_s: int):
    """The clocks may differ as much; who has the key is told by how much they do."""
    signatures = Signatures(VECTOR["secret"], STAMP, replays)
    with pytest.raises(Refusal, match=f"is {apart_s} s behind this clock") as caught:
        signatures.check(headers(), BODY, SIGNED_S + apart_s)
    assert caught.value.reason == "timestamp"
    signatures.check(headers(), BODY, SIGNED_S + apart_s - apart_s // 301)


def test_a_signature_is_used_once_also_over_a_restart(tmp_path: Path):
    """Until its time is over; then its age refuses it."""
    path = tmp_path / "used"
    signatures = Signatures(VECTOR["secret"], STAMP, Replays(path, SIGNED_S))
    signatures.check(headers(), BODY, SIGNED_S)
    assert reason(lambda: signatures.check(headers(), BODY, SIGNED_S)) == "replay"
    with path.open("ab") as file:
        file.write(b"torn")
    again = Signatures(VECTOR["secret"], STAMP, Replays(path, SIGNED_S + 299))
    assert reason(lambda: again.check(headers(), BODY, SIGNED_S + 299)) == "replay"
    assert reason(lambda: again.check(headers(), BODY, SIGNED_S + 301)) == "timestamp"


def test_the_same_body_signed_a_second_later_is_no_replay(replays: Replays):
    """The other Grafana of a pair, or the next repetition."""
    signatures = Signatures(VECTOR["secret"], STAMP, replays)
    for later_s in range(3):
        seconds = str(SIGNED_S + later_s)
        signatures.check(headers(sign(VECTOR["secret"].encode(), seconds, BODY).hex(), seconds), BODY, SIGNED_S)


def test_used_signatures_are_bounded_and_forgotten_when_their_time_is_over(tmp_path: Path):
    """Room comes with time; without room nothing is let in that could come twice."""
    path = tmp_path / "used"
    replays = Replays(path, 0, most=3)
    marks = [bytes([number]) * 32 for number in range(5)]
    assert [replays.first_use(mark, 100, 0) for mark in marks[:3]] == [True] * 3
    with pytest.raises(Full):
        replays.first_use(marks[3], 100, 1)
    assert replays.first_use(marks[3], 200, 101)
    assert path.stat().st_size == 40
    assert replays.first_use(marks[4], 200, 101)
    replays.close()
    assert Replays(path, 101).first_use(marks[4], 200, 101) is False


def test_a_disk_that_takes_nothing_refuses_no_signature(tmp_path: Path):
    """The alert may be the one that switches a pump off; only a restart forgets its signature."""
    used = Replays(tmp_path / "used", 0)
    (tmp_path / "used.tmp").mkdir()  # so that the file cannot be written anew
    assert used.first_use(b"\0" * 32, 1000, 500)
    assert not used.first_use(b"\0" * 32, 1000, 501)


def test_without_room_for_another_file_signatures_are_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A thousand slow callers use up the process's files: no alert is answered 500 for that, then or later."""
    path = tmp_path / "used"
    used = Replays(path, 0)
    assert used.first_use(b"a" * 32, 1000, 0)
    opens = Path.open

    def full(self: Path, *args: Any, **more: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", full)
    assert used.first_use(b"b" * 32, 1000, 500)  # the time to write the file anew
    monkeypatch.setattr(Path, "open", opens)
    assert used.first_use(b"c" * 32, 1000, 501)
    used.close()
    again = Replays(path, 501)
    assert [again.first_use(mark * 32, 1000, 502) for mark in (b"a", b"b", b"c", b"d")] == [False, False, False, True]


def test_half_a_record_spoils_none_that_follows(tmp_path: Path):
    """On a full disk a part of a record may fit."""
    path = tmp_path / "used"
    used = Replays(path, 0)
    assert used.first_use(b"a" * 32, 1000, 0)
    whole = used._file
    assert whole is not None

    class Short:
        def write(self, record: bytes) -> int | None:
            return whole.write(record[:17])

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

    used._file = Short()  # type: ignore[assignment]
    assert used.first_use(b"b" * 32, 1000, 1)
    used._file = whole
    assert used.first_use(b"c" * 32, 1000, 2)
    used.close()
    again = Replays(path, 3)
    assert [again.first_use(mark * 32, 1000, 3) for mark in (b"a", b"b", b"c")] == [False, True, False]


def test_one_signature_in_many_threads_is_used_once(tmp_path: Path):
    """Two copies of a request that arrive together."""
    replays = Replays(tmp_path / "used", 0)
    won: list[bool] = []
    threads = [threading.Thread(target=lambda: won.append(replays.first_use(b"s" * 32, 100, 0))) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(won) == 1


# --- API tokens ---


def test_a_token_is_its_scopes_until_it_is_revoked_or_ends(tmp_path: Path):
    """The reader sees every change of the file without being told."""
    path = tmp_path / "tokens.json"
    tokens, now_s = Tokens(path), time.time()
    assert tokens.caller("plt_aaaaaaaa_" + "a" * 43, now_s) is None
    phone, guest = create(path, "phone", ACTUATE), create(path, "guest", READ, days=1)
    found = tokens.caller(phone, now_s)
    assert found is not None
    assert (found.name, [found.may(scope) for scope in (READ, ACTUATE, ADMIN, ALERT)]) == (
        "phone",
        [True, True, False, False],
    )
    assert tokens.caller(phone[:-1] + ("A" if phone[-1] != "A" else "B"), now_s) is None
    assert tokens.caller(guest, now_s)
    assert tokens.caller(guest, now_s + 86401) is None
    revoke(path, "phone")
    assert tokens.caller(phone, now_s) is None
    revoke(path, listed(path)[0].id)
    assert (listed(path), tokens.caller(guest, now_s)) == ([], None)


def test_the_file_holds_no_token_and_only_its_owner_reads_it(tmp_path: Path):
    """A copy of it opens nothing."""
    path = tmp_path / "tokens.json"
    made = create(path, "phone", READ)
    assert made.rpartition("_")[2] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_lets_nobody_in_and_is_told(tmp_path: Path):
    """Nobody can say any more who was revoked."""
    path = tmp_path / "tokens.json"
    made, tokens = create(path, "phone", READ), Tokens(path)
    assert tokens.caller(made, 0)
    for text in ("{", '{"version": 2, "tokens": []}', path.read_text().replace('"read"', '"root"')):
        path.write_text(text)
        assert tokens.caller(made, 0) is None
        assert str(path) in (tokens.problem() or "")
        with pytest.raises(TokenError):
            create(path, "more", READ)
    path.unlink()
    assert tokens.problem() is None


@pytest.mark.parametrize("name", ["", "Ana", "a b", "-a", "a" * 25, "../a", "ana\n"])
def test_a_tokens_name_is_plain(tmp_path: Path, name: str):
    """It appears in logs, claims and commands."""
    with pytest.raises(TokenError, match="name: "):
        create(tmp_path / "tokens.json", name, READ)


def test_two_tokens_cannot_have_one_name(tmp_path: Path):
    """The audit would not tell them apart."""
    create(tmp_path / "tokens.json", "phone", READ)
    with pytest.raises(TokenError, match="has a token already"):
        create(tmp_path / "tokens.json", "phone", READ)
