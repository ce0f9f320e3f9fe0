"""The person at the browser, without a browser: follows the authorization URL, signs in, answers the consent page."""

import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

STEPS_MAX = 8
TIMEOUT_S = 20


class Form:
    """A form of a page: where it goes, and its inputs and buttons as (name, value, type)."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.inputs: list[tuple[str, str, str]] = []

    def has(self, name: str) -> bool:
        return any(input_[0] == name for input_ in self.inputs)

    def values(self, name: str) -> list[str]:
        return [value for found, value, _ in self.inputs if found == name]

    def fields(self, *chosen: tuple[str, str]) -> list[tuple[str, str]]:
        """What a browser sends: the seal, and what the person chose."""
        return [("seal", value) for value in self.values("seal")] + list(chosen)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(attributes.get("action", "")))
        elif tag in ("input", "button") and self.forms and "name" in attributes:
            self.forms[-1].inputs.append((attributes["name"], attributes.get("value", ""), attributes.get("type", "")))


def _words(page: str) -> str:
    text = re.sub(r"<head>.*?</head>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(text).split())[:600]


class Person:
    """One person in one browser: the cookies stay from one authorization to the next."""

    def __init__(self, login: str, password: str) -> None:
        self._login, self._password = login, password
        self._browser = requests.Session()

    def authorize(self, url: str) -> str:
        """Opens an authorization URL, signs in if asked to, allows all that is offered; returns where the browser is sent."""
        origin = urlsplit(url)[:2]
        has_signed_in = False
        response = self._browser.get(url, allow_redirects=False, timeout=TIMEOUT_S)
        for _ in range(STEPS_MAX):
            if location := response.headers.get("location"):
                target = urljoin(response.url, location)
                if urlsplit(target)[:2] != origin:
                    return target
                response = self._browser.get(target, allow_redirects=False, timeout=TIMEOUT_S)
                continue
            at = f"{response.status_code} at {urlsplit(response.url).path}: {_words(response.text)}"
            if response.status_code != 200:
                raise AssertionError(f"the person sees an error page, {at}")
            parser = _Forms()
            parser.feed(response.text)
            form = next((form for form in parser.forms if form.has("password") or form.has("decision")), None)
            if form is None:
                raise AssertionError(f"the person sees no form to fill in, {at}")
            if form.has("password"):
                if has_signed_in:
                    raise AssertionError(f"the person has to sign in twice, {at}")
                has_signed_in = True
                fields = form.fields(("login", self._login), ("password", self._password))
            else:
                fields = form.fields(*(("scope", scope) for scope in form.values("scope")), ("decision", "allow"))
            response = self._browser.post(
                urljoin(response.url, form.action),
                data=fields,
                headers={"origin": "://".join(origin)},
                allow_redirects=False,
                timeout=TIMEOUT_S,
            )
        raise AssertionError(f"the person is still being sent around after {STEPS_MAX} pages")
