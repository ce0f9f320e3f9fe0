"""Authlib: OAuth 2.0 and OpenID Connect from Python, its validators held against our metadata and tokens.

It holds providers to RS256, as OpenID Connect Discovery does: where the server signs with another algorithm, that alone is not asked.
"""

import os
import time

# Authlib wants https for everything; on the loopback interface it can be told that plain HTTP is meant.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import rfc8414, rfc9207
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from person import Person
from steps import check, environment, same, step

ISSUER, RESOURCE, LOGIN, PASSWORD = environment("ISSUER", "RESOURCE", "LOGIN", "PASSWORD")
SECRET_CLIENT_ID, SECRET_CLIENT_SECRET = environment("SECRET_CLIENT_ID", "SECRET_CLIENT_SECRET")
KEY_CLIENT_ID, KEY_CLIENT_PEM = environment("KEY_CLIENT_ID", "KEY_CLIENT_PEM")
REDIRECT_URI = "https://app.example.com/callback"
SCOPE = "openid profile email offline_access notes:read"
TIMEOUT_S = 20


def discover() -> dict:
    oidc = requests.get(get_well_known_url(ISSUER, external=True), timeout=TIMEOUT_S).json()
    provider = OpenIDProviderMetadata(oidc)
    if oidc["id_token_signing_alg_values_supported"] != ["RS256"]:
        provider.REGISTRY_KEYS = [key for key in provider.REGISTRY_KEYS if key != "id_token_signing_alg_values_supported"]
    provider.validate()
    oauth = requests.get(rfc8414.get_well_known_url(ISSUER, external=True), timeout=TIMEOUT_S).json()
    rfc8414.AuthorizationServerMetadata(oauth).validate(metadata_classes=[rfc9207.AuthorizationServerMetadata])
    same(oauth, oidc, "both forms of the metadata")
    same(oauth["issuer"], ISSUER, "issuer")
    step("Authlib finds no fault with the metadata (RFC 8414, RFC 9207, OpenID Connect Discovery)")
    return oauth


def register(server: dict, method: str) -> OAuth2Session:
    """Authlib has no call for registration; the answer is what its session needs."""
    metadata = {
        "client_name": f"Authlib {method}",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": method,
    }
    client = requests.post(server["registration_endpoint"], json=metadata, timeout=TIMEOUT_S)
    same(client.status_code, 201, "the status of a registration")
    same(client.json()["token_endpoint_auth_method"], method, "token_endpoint_auth_method")
    return session(server, client.json()["client_id"], client.json()["client_secret"], method)


def session(server: dict, client_id: str, secret: object, method: str) -> OAuth2Session:
    made = OAuth2Session(
        client_id,
        secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope=SCOPE,
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
        token_endpoint=server["token_endpoint"],
        default_timeout=TIMEOUT_S,
    )
    if method == "private_key_jwt":
        # The audience of the assertion is the issuer, as rfc7523bis has it.
        made.register_client_auth_method(PrivateKeyJWT(ISSUER, alg="ES256"))
    return made


def claims_of(token: str, server: dict, typ: str) -> jwt.Token:
    keys = KeySet.import_key_set(requests.get(server["jwks_uri"], timeout=TIMEOUT_S).json())
    decoded = jwt.decode(token, keys, algorithms=server["id_token_signing_alg_values_supported"])
    same(decoded.header["typ"].lower(), typ, "typ")
    return decoded


def life_of_a_grant(name: str, server: dict, client: OAuth2Session) -> None:
    verifier, nonce = generate_token(48), generate_token()
    url, state = client.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, nonce=nonce, resource=RESOURCE
    )
    answer = Person(LOGIN, PASSWORD).authorize(url)
    token = client.fetch_token(authorization_response=answer, state=state, code_verifier=verifier, resource=RESOURCE)
    same(token["token_type"], "Bearer", "token_type")
    same(set(token["scope"].split()), set(SCOPE.split()), "scope")

    decoded = claims_of(token["id_token"], server, "jwt")
    identity = CodeIDToken(
        decoded.claims,
        decoded.header,
        {"iss": {"value": ISSUER}, "aud": {"value": client.client_id}},
        {"nonce": nonce, "client_id": client.client_id, "access_token": token["access_token"]},
    )
    identity.validate(now=int(time.time()), leeway=5)
    decoded = claims_of(token["access_token"], server, "at+jwt")
    access = JWTAccessTokenClaims(decoded.claims, decoded.header, {"iss": {"value": ISSUER}, "aud": {"value": RESOURCE}})
    access.validate(now=int(time.time()), leeway=5)
    step(f"{name}: code, PKCE, an ID token and an access token that Authlib finds right")

    user = client.get(server["userinfo_endpoint"]).json()
    same((user["sub"], user["preferred_username"]), (identity["sub"], LOGIN), "userinfo")
    status = client.introspect_token(server["introspection_endpoint"], token["access_token"], "access_token").json()
    check(status["active"], "the token is active")
    same((status["sub"], status["aud"]), (identity["sub"], RESOURCE), "introspection")
    step(f"{name}: userinfo and introspection")

    fresh = client.refresh_token(refresh_token=token["refresh_token"], resource=RESOURCE)
    check(fresh["refresh_token"] != token["refresh_token"], "the refresh token was rotated")
    same(client.get(server["userinfo_endpoint"]).status_code, 200, "the status of userinfo with the new token")
    step(f"{name}: refresh")

    same(
        client.revoke_token(server["revocation_endpoint"], fresh["refresh_token"], "refresh_token").status_code,
        200,
        "revocation",
    )
    status = client.introspect_token(server["introspection_endpoint"], fresh["access_token"], "access_token").json()
    same(status, {"active": False}, "introspection after the revocation")
    try:
        client.refresh_token(refresh_token=fresh["refresh_token"], resource=RESOURCE)
    except OAuthError as refusal:
        same(refusal.error, "invalid_grant", "the error for a revoked refresh token")
    else:
        raise AssertionError("not refused: a revoked refresh token")
    step(f"{name}: revocation ends the grant at once")


def without_person(name: str, server: dict, client: OAuth2Session) -> None:
    token = client.fetch_token(grant_type="client_credentials", scope="notes:read", resource=RESOURCE)
    same(token["scope"], "notes:read", "scope")
    check("refresh_token" not in token, "no refresh token without a person")
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    same(client.post(RESOURCE, json=ping, headers=headers).status_code, 200, "the status of a call with the token")
    step(f"client credentials: {name}")


def main() -> None:
    server = discover()
    for method in ("client_secret_basic", "client_secret_post"):
        life_of_a_grant(f"registered by itself, {method}", server, register(server, method))
    key = ECKey.import_key(KEY_CLIENT_PEM)
    life_of_a_grant("private_key_jwt", server, session(server, KEY_CLIENT_ID, key, "private_key_jwt"))
    without_person(
        "client_secret_basic", server, session(server, SECRET_CLIENT_ID, SECRET_CLIENT_SECRET, "client_secret_basic")
    )
    without_person("client_secret_post", server, session(server, SECRET_CLIENT_ID, SECRET_CLIENT_SECRET, "client_secret_post"))
    without_person("private_key_jwt", server, session(server, KEY_CLIENT_ID, key, "private_key_jwt"))


if __name__ == "__main__":
    main()
