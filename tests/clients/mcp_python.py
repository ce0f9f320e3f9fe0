"""The MCP Python SDK: mcp."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from person import Person
from steps import check, environment, same, step

ISSUER, RESOURCE, LOGIN, PASSWORD, CLIENT_DOCUMENTS = environment("ISSUER", "RESOURCE", "LOGIN", "PASSWORD", "CLIENT_DOCUMENTS")
SECRET_CLIENT_ID, SECRET_CLIENT_SECRET = environment("SECRET_CLIENT_ID", "SECRET_CLIENT_SECRET")
KEY_CLIENT_ID, KEY_CLIENT_PEM = environment("KEY_CLIENT_ID", "KEY_CLIENT_PEM")
REDIRECT_URI = "http://127.0.0.1:33419/callback"
DEADLINE_S = 240


class Memory:
    """What the SDK asks its host to remember."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """The two ends that the SDK leaves to its host: opening the URL, and catching the answer."""

    def __init__(self, person: Person, keep_iss: bool) -> None:
        self._person, self._keep_iss = person, keep_iss
        self.asked: list[dict[str, list[str]]] = []
        self._answer: dict[str, list[str]] = {}

    async def open(self, url: str) -> None:
        self.asked.append(parse_qs(urlsplit(url).query))
        redirect = await asyncio.to_thread(self._person.authorize, url)
        check(redirect.startswith(f"{REDIRECT_URI}?"), f"the person is sent to the redirect URI: {redirect}")
        self._answer = parse_qs(urlsplit(redirect).query)

    async def catch(self) -> AuthorizationCodeResult:
        answer = {name: values[0] for name, values in self._answer.items()}
        same(answer.get("iss"), ISSUER, "iss of the answer")
        return AuthorizationCodeResult(
            code=answer["code"], state=answer["state"], iss=answer["iss"] if self._keep_iss else None
        )


def scopes(tokens: OAuthToken | None) -> set[str]:
    check(tokens and tokens.scope, "the token tells its scope")
    return set(tokens.scope.split())


async def call(auth: httpx2.Auth, mode: str, *calls: tuple[str, dict[str, str]]) -> list[str]:
    """Connects and calls tools; what they said."""
    said = []
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as http,
        Client(streamable_http_client(RESOURCE, http_client=http), mode=mode) as client,
    ):
        for tool, arguments in calls:
            result = await client.call_tool(tool, arguments)
            check(not result.is_error, f"{tool} works: {result}")
            said.append("\n".join(part.text for part in result.content))
    return said


def provider(memory: Memory, browser: Browser, client_metadata_url: str | None = None) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(client_name="Python SDK", redirect_uris=[REDIRECT_URI])
    return OAuthClientProvider(RESOURCE, metadata, memory, browser.open, browser.catch, client_metadata_url)


async def dynamic_registration(person: Person) -> None:
    memory, browser = Memory(), Browser(person, keep_iss=True)
    auth = provider(memory, browser)
    await call(auth, "auto", ("read_notes", {}))
    same(len(browser.asked), 1, "how often the person was asked")
    same(browser.asked[0]["resource"], [RESOURCE], "the resource that was asked for")
    same(str(memory.client.issuer), ISSUER, "the issuer of the registration")
    step("a 401 led to the metadata, a registration, the person, a token and a tool call")

    before = scopes(memory.tokens)
    check("notes:write" not in before, "the first token cannot write")
    said = await call(auth, "auto", ("write_note", {"text": "from Python"}), ("read_notes", {}))
    check("from Python" in said[1], "the note was written")
    same(len(browser.asked), 2, "how often the person was asked")
    same(scopes(memory.tokens), before | {"notes:write"}, "the scope after the step-up")
    step("a 403 led to the person and a wider token")

    old = memory.tokens
    auth.context.token_expiry_time = 1  # The SDK refreshes by its own clock only; this lets the token's time run out.
    await call(auth, "auto", ("read_notes", {}))
    same(len(browser.asked), 2, "how often the person was asked")
    check(memory.tokens.refresh_token not in (None, old.refresh_token), "the refresh token was rotated")
    same(scopes(memory.tokens), scopes(old), "the scope after the refresh")
    step("an expired token was refreshed")


async def issuer_check(person: Person) -> None:
    browser = Browser(person, keep_iss=False)
    try:
        await call(provider(Memory(), browser), "legacy", ("read_notes", {}))
    except* OAuthFlowError as refusals:
        check("iss" in str(refusals.exceptions[0]), f"the SDK missed iss: {refusals.exceptions[0]}")
        step("the SDK insists on iss, which our metadata promises")
    else:
        raise AssertionError("not refused: an answer without iss")


async def metadata_document(person: Person) -> None:
    memory, browser = Memory(), Browser(person, keep_iss=True)
    client_id = f"{CLIENT_DOCUMENTS}/python.json"
    await call(provider(memory, browser, client_id), "legacy", ("read_notes", {}))
    same(browser.asked[0]["client_id"], [client_id], "the client_id")
    step("a client ID metadata document instead of a registration, over the 2025 handshake")


async def without_person(name: str, auth: httpx2.Auth, memory: Memory) -> None:
    said = await call(auth, "auto", ("write_note", {"text": name}), ("read_notes", {}))
    check(name in said[1].splitlines(), "the client's own notes")
    check(memory.tokens.refresh_token is None, "no refresh token without a person")
    step(f"client credentials: {name}")


async def main() -> None:
    person = Person(LOGIN, PASSWORD)
    await dynamic_registration(person)
    await issuer_check(person)
    await metadata_document(person)
    scope = "notes:read notes:write"
    for method in ("client_secret_basic", "client_secret_post"):
        memory = Memory()
        auth = ClientCredentialsOAuthProvider(RESOURCE, memory, SECRET_CLIENT_ID, SECRET_CLIENT_SECRET, method, scope, ISSUER)
        await without_person(method, auth, memory)
    memory = Memory()
    key = SignedJWTParameters(
        issuer=KEY_CLIENT_ID, subject=KEY_CLIENT_ID, signing_key=KEY_CLIENT_PEM, signing_algorithm="ES256"
    )
    assertions = key.create_assertion_provider()
    await without_person(
        "private_key_jwt", PrivateKeyJWTOAuthProvider(RESOURCE, memory, KEY_CLIENT_ID, assertions, scope, ISSUER), memory
    )


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
