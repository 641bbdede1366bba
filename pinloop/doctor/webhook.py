"""The webhook's two users and its signature: each is let in to its own part, and a wrong password to none."""

from collections.abc import Iterator

from pinloop.doctor.ask import NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine
from pinloop.doctor.target import Target
from service.signing import Signer

__all__ = ["check_webhook"]


def check_webhook(target: Target) -> Iterator[Finding]:
    """Try the users `operator` and `alerts`, the key that signs, and a wrong password; nothing is posted."""
    url = target.services.get("webhook")
    if not url:
        return
    try:
        for user, path in (("operator", "/claims"), ("alerts", "/alert")):
            if user in target.passwords:
                # A GET on /alert is answered 405, but only to those who may post there.
                answer = ask(url + path, basic=(user, target.passwords[user]))
                # With `alert_auth` hmac or both the password alone is not enough, and the webhook says what is missing.
                signs = user == "alerts" and answer.json().get("reason") == "signature"
                yield _finding(target, user, answer.status in (200, 405) or signs, answer.status)
        if {"alerts", "hmac"} <= target.passwords.keys():
            yield _signature(target, url + "/alert")
        wrong = ("operator", "wrong")
        # 429: refused without a look, after many wrong ones from this address.
        open_to_all = [path for path in ("/claims", "/alert") if ask(url + path, basic=wrong).status not in (401, 429)]
    except NoAnswer:
        return  # the finding `webhook` says it
    if open_to_all:
        yield broken(
            "webhook strangers",
            f"The webhook answers a wrong password on {', '.join(open_to_all)}: whoever reaches it can switch pins.",
            "What answers there is not Pinloop's webhook, or a proxy adds credentials: look at what listens there.",
        )
    else:
        yield fine("webhook strangers", "A wrong password is refused.")


def _signature(target: Target, url: str) -> Finding:
    """Sign as Grafana and rules do."""
    signed = Signer(target.passwords["hmac"]).headers(b"")
    answer = ask(url, basic=("alerts", target.passwords["alerts"]), headers=signed)
    said = answer.json()
    # "replay": it was right, and two doctors within a second sign the same. "wrong": it is about the password.
    if answer.status == 405 or said.get("reason") in ("replay", "wrong", "too_many"):
        return fine("webhook signature", "Who signs with the key of the secrets folder is let in.")
    return broken(
        "webhook signature",
        f"What is signed with the key of the secrets folder gets {answer.status} ({said.get('detail')}).",
        f"Grafana and rules sign with it: put the right key there, or {target.again}, so that all read it anew.",
    )


def _finding(target: Target, user: str, good: bool, status: int) -> Finding:
    name = f"webhook user {user}"
    if good:
        return fine(name, f"`{user}` is let in.")
    holders = {"operator": "the console cannot switch a pin", "alerts": "no alert reaches a pin"}[user]
    if status == 401:
        return broken(
            name,
            f"`{user}` is refused with the password of the secrets folder: {holders} once it is read anew.",
            f"The secret was changed while the services run: put it back, or {target.again}, so that all read it.",
        )
    return broken(name, f"`{user}` gets {status}.", f"Look at {target.log_of('webhook')}.")
