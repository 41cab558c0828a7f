"""What can go wrong while a provider's list is fetched. Each error becomes a stored sentence with an action.

SyncError
├── KeyProblem                the key is at fault: a retry changes nothing
│   ├── KeyRejected           the provider does not know the key
│   ├── KeyRevoked            the provider knew it once
│   ├── KeyLeaked             … and blocked it since it was published
│   ├── NoAccess              the key may not read the list
│   ├── MissingScope          … for want of a permission
│   ├── ToolsOnly             … since it belongs to a subscription for coding tools
│   ├── IPNotAllowed          the key has an allowlist without this server
│   ├── KeyRestricted         the key is for other apps, websites or APIs
│   ├── ApiDisabled           its project has to enable the API
│   ├── WrongProject          its project or organization does not fit
│   ├── QuotaExhausted        its owner has to pay or wait for the next period
│   ├── BudgetExceeded        … or to raise the key's own limit
│   ├── KeyUnopenable         our own vault cannot open it
│   └── KeyMissing            not in the server's environment, and the list needs one
├── TransientError            may work later
│   ├── ConnectionProblem     there is no connection
│   │   ├── UnknownHost           the name does not resolve
│   │   ├── ConnectionRefused     nothing listens at the port
│   │   ├── WrongScheme           HTTP to a TLS port
│   │   ├── TlsNotSpoken          TLS to an HTTP port
│   │   ├── CertificateUntrusted  signed by an authority that we do not know
│   │   ├── CertificateExpired    or not valid yet
│   │   ├── CertificateMismatch   for another name
│   │   ├── ProxyFailed           the environment's proxy does not pass us on
│   │   └── Unreachable           for another reason
│   ├── TimedOut
│   ├── RateLimited
│   ├── Unavailable           5xx
│   ├── Overloaded            529
│   ├── Maintenance
│   ├── RetryLater            an earlier Retry-After has not passed yet
│   ├── CircuitOpen           it fails for many users, so requests pause
│   └── ConcurrencyLimited    too many of our own requests to it are running
├── DiskFull                  a good answer, but the server has no room for it
└── UnusableAnswer            the provider answered, but not with a list we can trust
    ├── UnreadableAnswer      HTML, invalid JSON, another shape
    ├── AccessPage            a login or a challenge in front of it
    ├── ProxyAuthRequired     a proxy in front of it asks for a password
    ├── NoModelList           404, 405, 501
    ├── Gone                  410
    ├── TooLarge
    ├── Redirected            to another host, where the key must not go
    ├── HttpsRequired         it redirects from http:// to https:// on the same host
    ├── PrivateAddressBlocked  a user's address leads into a private network
    ├── MissingBaseURL        the provider has no default address, and the key names none
    ├── RegionBlocked
    └── RequestRejected       any other 4xx

A code reads as words ("key revoked"), because summaries show it. Errors that ask the same of the key's owner share one.
`{provider}` in a sentence stands for the provider's name, which `describe` and `describe_action` fill in.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import ClassVar, Literal

from app.providers.contract import ErrorMeaning, Provider

KEPT = "We kept your last list. "
"""How the action of an error begins that concerns keys with a list; left out where there is none."""
_UNNAMED = "the provider"


class SyncError(Exception):
    """A known failure. `str()` is a sentence for people; it never holds a key or text of the provider's."""

    code: ClassVar[str]
    sentence: ClassVar[str]
    action: str
    own_server_action: ClassVar[str] = ""
    """Instead of `action` where the address is the user's own choice."""
    is_transient: ClassVar[bool] = False
    """Whether trying again later may help."""
    key_at_fault: ClassVar[bool] = False
    outcome: ClassVar[Literal["failed", "skipped"]] = "failed"
    """Outcome of the result: skipped if the provider was deliberately not queried."""
    counts_against_provider: ClassVar[bool] = False
    """Whether the provider itself failed: such errors of many users open its circuit breaker."""
    put_off_until: datetime | None = None
    """The provider's Retry-After time, if it is later than a run waits."""

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        """retry_after_s: as the provider requested. retryable: whether another attempt within the run may help."""
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        self.retryable = retryable
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The sentence, where the provider is not known."""
        return self.describe(None)

    def describe(self, provider: Provider | None) -> str:
        """The sentence, naming the provider."""
        ending = f" ({self.status})" if self.status else ""
        return _name_provider(f"{self.detail or self.sentence}{ending}.", provider)

    def describe_action(self, provider: Provider | None, *, has_list: bool) -> str:
        """What to do, as sentences. has_list: whether a list stays in force."""
        is_own_server = provider is not None and bool(provider.base_url_example)
        action = (is_own_server and self.own_server_action) or self.action
        return _name_provider(action if has_list else action.removeprefix(KEPT), provider)

    def add_retry_time(self, provider: str, until: datetime, now: datetime) -> SyncError:
        """The same failure, naming the time until which the provider asks to wait."""
        later = type(self)(
            f"{provider} asks to wait until {format_clock_time(until, now)}",
            status=self.status,
            retry_after_s=self.retry_after_s,
        )
        later.put_off_until = until
        later.action = f"{KEPT}We'll retry after that time."
        return later


def _name_provider(text: str, provider: Provider | None) -> str:
    name = provider.sentence_name or provider.title if provider else _UNNAMED
    sentences = text.replace("{provider}", name)
    # "the provider" and "your server" are capitalised where they begin a sentence; titles keep their own spelling.
    for lower in (_UNNAMED, "your server"):
        if sentences.startswith(lower):
            sentences = sentences[0].upper() + sentences[1:]
        sentences = sentences.replace(f". {lower}", f". {lower[0].upper()}{lower[1:]}")
    return sentences


def format_clock_time(moment: datetime, now: datetime) -> str:
    """`10:20 UTC`, with the day (`2 November 10:20 UTC`) unless it is today; for sentences that are stored."""
    moment = moment.astimezone(UTC)
    day = "" if moment.date() == now.astimezone(UTC).date() else f"{moment.day} {moment:%B} "
    return f"{day}{moment:%H:%M} UTC"


class KeyProblem(SyncError):
    key_at_fault = True


class KeyRejected(KeyProblem):
    code = "key_rejected"
    sentence = "{provider} rejected this key"
    action = "Replace it, or create a new one."


class KeyRevoked(KeyProblem):
    code = "key_revoked"
    sentence = "{provider} says this key was revoked, disabled or has expired"
    action = "Create a new key and replace this one."


class KeyLeaked(KeyRevoked):
    sentence = "{provider} blocked this key because it was reported as leaked"
    action = "Create a new key, replace this one, and find out where the old one was published."


class NoAccess(KeyProblem):
    code = "no_access"
    sentence = "{provider} doesn't let this key list models"
    action = "Give the key read access to models, or use another key."


class MissingScope(NoAccess):
    sentence = "{provider} says this key lacks the permission to list models"
    action = "Edit the key's permissions, or create a key that may read models."


class ToolsOnly(NoAccess):
    sentence = "{provider} accepts this key from its own coding tools only"
    action = "It belongs to a subscription. Create a regular API key and replace this one."


class IPNotAllowed(KeyProblem):
    code = "ip_not_allowed"
    sentence = "{provider} doesn't accept this key from Modelsync's IP address"
    action = "Add the IP address of this Modelsync server to the key's allowlist, or remove the restriction."


class KeyRestricted(KeyProblem):
    code = "key_restricted"
    sentence = "{provider} restricts this key to other apps, websites or APIs"
    action = "Edit the key's restrictions, or create a key without them."


class ApiDisabled(KeyProblem):
    code = "api_disabled"
    sentence = "{provider} says the API is not enabled in this key's project"
    action = "Enable it in the project's console, wait a few minutes, then sync again."


class WrongProject(KeyProblem):
    code = "wrong_project"
    sentence = "{provider} says this key's project or organization doesn't match or no longer exists"
    action = "Check the key's project, or create a key in the right one."


class QuotaExhausted(KeyProblem):
    code = "quota_exhausted"
    sentence = "You're out of credit or quota at {provider}"
    action = "Check your billing there, then sync again."


class BudgetExceeded(QuotaExhausted):
    sentence = "This key's budget at {provider} is used up"
    action = "Raise the key's limit, or wait until it resets, then sync again."


class KeyUnopenable(KeyProblem):
    code = "key_unopenable"
    sentence = "We can't decrypt this key"
    action = "Paste it again. Operators: VAULT_PRIVATE_KEYS was lost or changed."


class KeyMissing(KeyProblem):
    outcome = "skipped"
    code = "key_missing"
    sentence = "API key not configured"
    action = "Set it in the environment of the workers, and start them again."


class TransientError(SyncError):
    is_transient = True


class ConnectionProblem(TransientError):
    counts_against_provider = True


class Unreachable(ConnectionProblem):
    code = "unreachable"
    sentence = "Could not reach {provider}"
    action = f"{KEPT}If this keeps happening, check the server's network."


class UnknownHost(ConnectionProblem):
    code = "unknown_host"
    sentence = "The host name of {provider} can't be found"
    action = f"{KEPT}If this keeps happening, check this server's network and DNS."
    own_server_action = f"{KEPT}Correct the host name in the address, or check this server's DNS."


class ConnectionRefused(ConnectionProblem):
    code = "connection_refused"
    sentence = "Nothing answers at the address of {provider}"
    action = f"{KEPT}If this keeps happening, check this server's network and firewall."
    own_server_action = (
        f"{KEPT}Start your server, or correct host and port in the address. In a container, localhost is the container"
        " itself."
    )


class WrongScheme(ConnectionProblem):
    code = "wrong_scheme"
    sentence = "{provider} speaks HTTPS only"
    action = f"{KEPT}Operators: write https:// in the base URL of this provider."
    own_server_action = f"{KEPT}Write https:// in the address."


class TlsNotSpoken(WrongScheme):
    sentence = "{provider} speaks HTTP without TLS"
    action = f"{KEPT}Operators: check the base URL of this provider, and the proxy or firewall in between."
    own_server_action = f"{KEPT}Write http:// in the address."


class CertificateUntrusted(ConnectionProblem):
    code = "certificate_untrusted"
    sentence = "The certificate of {provider} comes from an authority that is not trusted here"
    action = (
        f"{KEPT}If the certificate is right, the operator sets SSL_CERT_FILE to a file with it, or with its"
        " authority's, and restarts the workers."
    )


class CertificateExpired(ConnectionProblem):
    code = "certificate_expired"
    sentence = "The certificate of {provider} has expired"
    action = f"{KEPT}Check this server's clock. If it is right, {{provider}} has to renew the certificate."
    own_server_action = f"{KEPT}Renew the certificate of your server, or check this server's clock."


class CertificateMismatch(ConnectionProblem):
    code = "certificate_mismatch"
    sentence = "The certificate of {provider} is for another name"
    action = f"{KEPT}Something between this server and {{provider}} answers in its place: check the network."
    own_server_action = f"{KEPT}Write the host name that the certificate is for in the address."


class ProxyFailed(ConnectionProblem):
    code = "proxy_failed"
    sentence = "The proxy of this server did not connect to {provider}"
    action = f"{KEPT}Operators: check HTTPS_PROXY and NO_PROXY where the workers run."


class TimedOut(TransientError):
    counts_against_provider = True
    code = "timed_out"
    sentence = "{provider} did not answer in time"
    action = f"{KEPT}Try again later."


class RateLimited(TransientError):
    counts_against_provider = True
    code = "rate_limited"
    sentence = "Rate-limited by {provider}"
    action = f"{KEPT}Wait a few minutes, then sync again."


class Unavailable(TransientError):
    counts_against_provider = True
    code = "unavailable"
    sentence = "{provider} is having problems"
    action = f"{KEPT}Try again later."


class Overloaded(Unavailable):
    sentence = "{provider} is overloaded"


class Maintenance(TransientError):
    counts_against_provider = True
    code = "maintenance"
    sentence = "{provider} is down for maintenance"
    action = f"{KEPT}Try again later."


class RetryLater(TransientError):
    outcome = "skipped"
    code = "put_off"
    sentence = "{provider} asked to wait"
    action = f"{KEPT}We'll retry after that time."


class CircuitOpen(TransientError):
    code = "provider_trouble"
    sentence = "{provider} is having problems"
    action = f"{KEPT}It's not your key. We'll retry automatically."


class ConcurrencyLimited(TransientError):
    code = "crowded"
    sentence = "Too many other syncs were using {provider}"
    action = f"{KEPT}Try again later."


class DiskFull(SyncError):
    code = "disk_full"
    sentence = "The server's disk is full, so this list could not be saved"
    action = f"{KEPT}Tell the operator, then sync again."


class UnusableAnswer(SyncError):
    pass


class UnreadableAnswer(UnusableAnswer):
    code = "unreadable_answer"
    is_page = False
    """Whether it was a web page."""
    sentence = "{provider} did not send a list of models"
    action = f"{KEPT}If this keeps happening, its API has changed: please report it."
    own_server_action = f"{KEPT}Check the address of your server: its model list is usually at /v1/models."


class AccessPage(UnusableAnswer):
    code = "access_page"
    sentence = "A login or security page answered instead of {provider}"
    action = f"{KEPT}It's not your key. If this keeps happening, {{provider}} may be blocking this server's network."
    own_server_action = (
        f"{KEPT}It's not your key. Let this server through the page (Cloudflare, single sign-on), or use an address "
        "without it."
    )


class ProxyAuthRequired(UnusableAnswer):
    code = "proxy_auth"
    sentence = "A proxy in front of {provider} asks for a user name and password"
    action = f"{KEPT}It's not your key. Tell the operator: the proxy has to let this server through."
    own_server_action = (
        f"{KEPT}It's not your key. Change this key, and give the proxy's user and password as its login."
    )


class NoModelList(UnusableAnswer):
    code = "no_model_list"
    sentence = "{provider} has no model list at this address"
    action = f"{KEPT}If this keeps happening, its API has changed: please report it."
    own_server_action = f"{KEPT}Check the address: it usually ends in /v1."


class Gone(UnusableAnswer):
    code = "gone"
    sentence = "{provider} has shut down this address for good"
    action = f"{KEPT}Check whether the service has ended or moved."


class TooLarge(UnusableAnswer):
    code = "answer_too_large"
    sentence = "The list of {provider} is larger than 32 MB"
    action = f"{KEPT}If this keeps happening, please report it."


class Redirected(UnusableAnswer):
    code = "redirected"
    sentence = "The address of {provider} redirects to another host, where we did not send the key"
    action = f"{KEPT}Check the base URL of this provider."


class HttpsRequired(UnusableAnswer):
    code = "https_required"
    sentence = "{provider} redirects http:// to https://"
    action = f"{KEPT}Write https:// in the address."


class PrivateAddressBlocked(UnusableAnswer):
    code = "private_address"
    sentence = "That address is in a private network, which this server does not open to its users"
    action = "Use a public address, or ask the operator to add the network to ALLOWED_PRIVATE_NETWORKS."


class MissingBaseURL(UnusableAnswer):
    code = "no_address"
    sentence = "This key has no server address"
    action = "Delete it and add it again with one."


class RegionBlocked(UnusableAnswer):
    code = "region_blocked"
    sentence = "{provider} does not serve this server's country"
    action = "Run Modelsync where {provider} is available, or disable this key."


class RequestRejected(UnusableAnswer):
    code = "refused"
    sentence = "{provider} refused the request"
    action = f"{KEPT}If this keeps happening, please report it."


ERROR_BY_MEANING: dict[ErrorMeaning, type[SyncError]] = {
    "key_rejected": KeyRejected,
    "key_revoked": KeyRevoked,
    "key_leaked": KeyLeaked,
    "no_access": NoAccess,
    "missing_scope": MissingScope,
    "tools_only": ToolsOnly,
    "ip_not_allowed": IPNotAllowed,
    "key_restricted": KeyRestricted,
    "api_disabled": ApiDisabled,
    "wrong_project": WrongProject,
    "quota_exhausted": QuotaExhausted,
    "budget_exceeded": BudgetExceeded,
    "rate_limited": RateLimited,
    "region_blocked": RegionBlocked,
    "maintenance": Maintenance,
    "overloaded": Overloaded,
    "unavailable": Unavailable,
    "access_page": AccessPage,
    "proxy_auth": ProxyAuthRequired,
    "no_model_list": NoModelList,
    "gone": Gone,
    "refused": RequestRejected,
}


class InternalError(Exception):
    """An unexpected error, raised while a key was in use: its type, and where it happened.

    It has neither the original's message nor its frames, which may hold the key and would be shown in error reports.
    """


def internal_error(error: BaseException) -> InternalError:
    """Replaces an unexpected error; raise or return it outside the `except` block, so that it has no context."""
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return InternalError(f"{type(error).__module__}.{type(error).__qualname__} at " + ", from ".join(reversed(places)))
