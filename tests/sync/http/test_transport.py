"""Why a connection failed, by real sockets: each cause has its own code, sentence and action."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.providers import PROVIDERS
from app.sync.http import client as clients
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.fetch import Answer, fetch
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey

ONCE = RetryPolicy(max_attempts=1)
KEY = ApiKey("sk-marked-Zq7Kw2Xv9-tail", "me:pass-Kw2Xv9")
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
LIST = b'{"data": [{"id": "acme-chat-1"}]}'
Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server(http.server.ThreadingHTTPServer):
    """A server on loopback that notes what it was asked."""

    daemon_threads = True

    def __init__(self, respond: Respond, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                respond(self)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: object) -> None:
        pass

    @property
    def port(self) -> int:
        return int(self.server_address[1])


def answer(status: int, body: bytes = b"", **headers: str) -> Respond:
    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return respond


@contextmanager
def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server(respond, tls) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def make_certificate(
    folder: Path, name: str = "127.0.0.1", days: tuple[int, int] = (-1, 30)
) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate valid between two days from now: its file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / f"{name}{days[1]}.pem", folder / f"{name}{days[1]}.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return file, context


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=[LOOPBACK, None], ids=["own server", "built-in"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with new_client(request.param) as client:
        yield client


def ask(client: httpx.Client, base_url: str, slug: str = "openai-compatible") -> Answer:
    return fetch(PROVIDERS[slug], KEY, client, base_url=base_url, retry_policy=ONCE)


def failure(client: httpx.Client, base_url: str, slug: str = "openai-compatible") -> errors.SyncError:
    with pytest.raises(errors.SyncError) as raised:
        ask(client, base_url, slug)
    assert raised.value.__context__ is None and "Kw2Xv9" not in f"{raised.value} {raised.value.action}"
    return raised.value


def action(error: errors.SyncError, slug: str = "openai-compatible") -> str:
    return error.describe_action(PROVIDERS[slug], has_list=True)


@contextmanager
def trusting(monkeypatch: pytest.MonkeyPatch, *files: Path) -> Iterator[None]:
    """New clients trust these certificates, as SSL_CERT_FILE says."""
    bundle = files[0].with_suffix(".bundle")
    bundle.write_bytes(b"".join(file.read_bytes() for file in files))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setattr(clients, "_tls", None)
    yield
    monkeypatch.setattr(clients, "_tls", None)


def test_a_name_that_does_not_exist(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = failure(client, "https://no-such-host.invalid/v1")
    assert (error.code, error.message) == ("unknown_host", "There is no host named no-such-host.invalid.")
    assert "Correct the host name in the address" in action(error) and not error.retryable
    error = failure(client, PROVIDERS["openai"].base_url, "openai")
    assert "check this server's network and DNS" in action(error, "openai")


def test_a_port_where_nothing_listens(client: httpx.Client) -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = failure(client, f"http://127.0.0.1:{port}/v1")
    assert (error.code, error.message) == ("connection_refused", f"Nothing answers at 127.0.0.1:{port}.")
    assert "Start your server" in action(error)


def test_http_to_a_port_with_tls(client: httpx.Client, certificate: tuple[Path, ssl.SSLContext]) -> None:
    with serving(answer(200, LIST), certificate[1]) as server:
        error = failure(client, f"http://127.0.0.1:{server.port}/v1")
    assert (error.code, error.message) == ("wrong_scheme", f"127.0.0.1:{server.port} speaks HTTPS only.")
    assert "Write https:// in the address" in action(error)
    assert server.asked == []


def test_https_to_a_port_without_tls(client: httpx.Client) -> None:
    with serving(answer(200, LIST)) as server:
        error = failure(client, f"https://127.0.0.1:{server.port}/v1")
    assert (error.code, error.message) == ("wrong_scheme", f"127.0.0.1:{server.port} speaks HTTP without TLS.")
    assert "Write http:// in the address" in action(error)
    assert server.asked == [], "the key goes nowhere"


def test_a_400_to_http_by_a_port_with_tls_is_the_wrong_scheme(
    client: httpx.Client, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    """As nginx and Go answer; told apart from a server's own 400 by asking there with TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        with listener:
            for _ in range(2):
                connection, _address = listener.accept()
                if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                    with suppress(OSError):
                        certificate[1].wrap_socket(connection, server_side=True)
                else:
                    connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server."
                    )
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert failure(client, f"http://127.0.0.1:{port}/v1").code == "wrong_scheme"
    thread.join()
    with serving(answer(400)) as server:
        assert failure(client, f"http://127.0.0.1:{server.port}/v1").status == 400


def test_a_certificate_that_is_not_trusted(client: httpx.Client, certificate: tuple[Path, ssl.SSLContext]) -> None:
    with serving(answer(200, LIST), certificate[1]) as server:
        error = failure(client, f"https://127.0.0.1:{server.port}/v1")
    assert error.code == "certificate_untrusted" and "127.0.0.1" in error.message
    assert "SSL_CERT_FILE" in action(error) and not error.retryable
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "days", "code", "words"),
    [
        ("127.0.0.1", (-30, -1), "certificate_expired", "has expired"),
        ("127.0.0.1", (1, 30), "certificate_expired", "is not valid yet"),
        ("other.example", (-1, 30), "certificate_mismatch", "is for another name"),
        ("127.0.0.2", (-1, 30), "certificate_mismatch", "is for another name"),
    ],
)
def test_a_certificate_that_is_trusted_but_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, days: tuple[int, int], code: str, words: str
) -> None:
    file, context = make_certificate(tmp_path, name, days)
    with trusting(monkeypatch, file), serving(answer(200, LIST), context) as server, new_client(LOOPBACK) as client:
        error = failure(client, f"https://127.0.0.1:{server.port}/v1")
    assert error.code == code and words in error.message


@pytest.mark.parametrize("restricted", [LOOPBACK, None], ids=["own server", "built-in"])
def test_ssl_cert_file_is_trusted_besides_the_public_authorities(
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[Path, ssl.SSLContext],
    restricted: tuple[ipaddress.IPv4Network, ...] | None,
) -> None:
    with trusting(monkeypatch, certificate[0]), new_client(restricted) as client:
        with serving(answer(200, LIST), certificate[1]) as server:
            assert [model.id for model in ask(client, f"https://127.0.0.1:{server.port}/v1").models] == ["acme-chat-1"]
        assert clients._tls is not None and len(clients._tls.get_ca_certs()) > 50


@pytest.mark.parametrize(
    ("location", "written"),
    [
        ("https://127.0.0.1:8443/v1/models", "https://127.0.0.1:8443 in"),
        ("https://127.0.0.1/v1/models", "https://127.0.0.1 in"),
        ("HTTPS://127.0.0.1", "https://127.0.0.1 in"),
        ("https://127.0.0.1:PORT/v1/models", "https://127.0.0.1 in"),
    ],
)
def test_a_redirect_to_https_of_the_same_host(client: httpx.Client, location: str, written: str) -> None:
    with serving(answer(301, Location=location)) as server:
        error = failure(client, f"http://127.0.0.1:{server.port}/v1")
    assert error.code == "https_required" and "another host" not in error.message
    assert f"Write {written} the address" in action(error)


@pytest.mark.parametrize(
    "location",
    [
        "https://other.example/v1/models",
        "http://127.0.0.1:1/v1/models",
        "//other.example/",
        "https://127.0.0.1@other.example/",
    ],
)
def test_a_redirect_elsewhere_is_not_followed(client: httpx.Client, location: str) -> None:
    with serving(answer(302, Location=location)) as server:
        assert failure(client, f"http://127.0.0.1:{server.port}/v1").code == "redirected"


def test_a_proxy_of_the_environment_is_named_and_never_used_for_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{taken.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with serving(answer(200, LIST)) as server:
            base_url = f"http://127.0.0.1:{server.port}/v1"
            with new_client(LOOPBACK) as client:
                assert ask(client, base_url).models
            with new_client() as client:
                error = failure(client, base_url, "openai")
    assert error.code == "proxy_failed" and "HTTPS_PROXY" in action(error)


# ------------------------------------------------------------------ where the list is


SPA = answer(200, b"<!doctype html><title>Acme</title>", Content_Type="text/html")


def at(paths: dict[str, Respond], otherwise: Respond) -> Respond:
    return lambda request: paths.get(request.path, otherwise)(request)


@pytest.mark.parametrize(
    "otherwise", [SPA, answer(404), answer(405), answer(200, b'{"error": "Unexpected endpoint or method."}')]
)
@pytest.mark.parametrize(
    ("slug", "listed_at", "kept"),
    [
        ("openai-compatible", "/v1/models", "/v1"),
        ("lmstudio", "/api/v1/models", ""),
        ("lmstudio", "/api/v0/models", "/api/v0/models"),
        ("lmstudio", "/v1/models", "/v1/models"),
        ("vllm", "/v1/models", ""),
    ],
)
def test_the_list_is_found_at_another_path_of_the_server(
    client: httpx.Client, slug: str, listed_at: str, kept: str, otherwise: Respond
) -> None:
    with serving(at({listed_at: answer(200, LIST)}, otherwise)) as server:
        base_url = f"http://127.0.0.1:{server.port}"
        found = ask(client, base_url, slug)
        assert [model.id for model in found.models] == ["acme-chat-1"]
        assert found.base_url == (base_url + kept if kept else "")
        server.asked.clear()
        assert ask(client, found.base_url or base_url, slug).base_url == ""
        assert [path for path, _ in server.asked] == [listed_at], "the next time at once"


def test_what_was_found_elsewhere_and_moved_is_looked_for_again(client: httpx.Client) -> None:
    with serving(at({"/api/v1/models": answer(200, LIST)}, answer(404))) as server:
        base_url = f"http://127.0.0.1:{server.port}"
        assert ask(client, base_url + "/v1/models", "lmstudio").base_url == base_url


@pytest.mark.parametrize("otherwise", [SPA, answer(404), answer(405)])
@pytest.mark.parametrize(
    ("slug", "path"), [("openai-compatible", "/models"), ("ollama", "/api/tags"), ("vllm", "/v1/models")]
)
def test_a_server_without_a_list_is_a_sentence_about_the_address(
    client: httpx.Client, slug: str, path: str, otherwise: Respond
) -> None:
    with serving(otherwise) as server:
        base_url = f"http://127.0.0.1:{server.port}"
        error = failure(client, base_url, slug)
    assert error.code == "no_model_list" and f"{base_url}{path}" in error.message
    assert "Check the address" in action(error, slug)


def test_an_answer_about_the_key_at_the_other_path_counts(client: httpx.Client) -> None:
    with serving(at({"/v1/models": answer(401)}, SPA)) as server:
        assert failure(client, f"http://127.0.0.1:{server.port}").code == "key_rejected"


def test_no_other_path_is_tried_behind_a_version_or_after_trouble(client: httpx.Client) -> None:
    with serving(at({"/v1/models": answer(200, LIST)}, answer(404))) as server:
        assert failure(client, f"http://127.0.0.1:{server.port}/v2").code == "no_model_list"
    with serving(at({"/v1/models": answer(200, LIST)}, answer(503))) as server:
        assert failure(client, f"http://127.0.0.1:{server.port}").code == "unavailable"
        assert len(server.asked) == 1


# ------------------------------------------------------------------ a login in front of the server


@pytest.mark.parametrize(
    ("slug", "key", "headers"),
    [
        ("openai-compatible", ApiKey("", "me:secret"), {"authorization": "Basic bWU6c2VjcmV0"}),
        (
            "openai-compatible",
            ApiKey("sk-a-key-of-ours", "me:secret"),
            {"authorization": "Basic bWU6c2VjcmV0", "x-api-key": "sk-a-key-of-ours"},
        ),
        (
            "azure",
            ApiKey("sk-a-key-of-ours", "me:secret"),
            {"authorization": "Basic bWU6c2VjcmV0", "api-key": "sk-a-key-of-ours"},
        ),
        ("openai-compatible", ApiKey("sk-a-key-of-ours"), {"authorization": "Bearer sk-a-key-of-ours"}),
        ("ollama", ApiKey("", "ü:ß"), {"authorization": "Basic w7w6w58="}),
    ],
)
def test_a_login_goes_into_authorization_and_a_key_beside_it(slug: str, key: ApiKey, headers: dict[str, str]) -> None:
    with serving(answer(200, b'{"data": [], "models": []}')) as server, new_client(LOOPBACK) as client:
        fetch(PROVIDERS[slug], key, client, base_url=f"http://127.0.0.1:{server.port}/v1", retry_policy=ONCE)
    ((_, sent),) = server.asked
    assert {name: sent[name] for name in ("authorization", "x-api-key", "api-key") if name in sent} == headers
