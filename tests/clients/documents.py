"""Client ID metadata documents over TLS, on the loopback interface, under a certificate authority made for the occasion.

Takes a folder, writes `authority.pem` into it, prints the base URL when it serves, and serves `/<name>.json` until it is ended.
"""

import datetime
import ipaddress
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, *extensions: tuple[x509.ExtensionType, bool]):
    """A certificate of today, to be signed."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder


def make_certificates(folder: Path) -> None:
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate("Test authority", authority_key, "Test authority", (x509.BasicConstraints(True, 0), True))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = certificate(
        "localhost",
        server_key,
        "Test authority",
        (names, False),
        (x509.BasicConstraints(False, None), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    )
    pem = serialization.Encoding.PEM
    for file, made in (("authority.pem", authority), ("server.pem", server)):
        (folder / file).write_bytes(made.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(server_key.private_bytes(pem, *private))


class Documents(BaseHTTPRequestHandler):
    """Any name has a document: a public client on the person's own machine."""

    def do_GET(self) -> None:
        body = json.dumps(
            {
                "client_id": f"{self.server.base}{self.path}",
                "client_name": self.path.removeprefix("/").removesuffix(".json"),
                "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/oauth/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
                "application_type": "native",
            }
        ).encode()
        self.send_response(200 if self.path.endswith(".json") else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def main(folder: Path) -> None:
    make_certificates(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.base = f"https://localhost:{server.server_port}"
    print(server.base, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
