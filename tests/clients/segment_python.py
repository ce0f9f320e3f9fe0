"""segment-analytics-python, as an organisation's server uses it: compressed, with a write key, or with access tokens beside it."""

import os

from segment.analytics import Client
from steps import check, environment, step

HOST, WRITE_KEY = environment("HOST", "WRITE_KEY")

errors: list[object] = []
client = Client(
    WRITE_KEY,
    host=HOST,
    on_error=lambda error, items: errors.append((error, len(items))),
    gzip=True,
    timeout=2,
    upload_size=5,
    upload_interval=0.2,
    oauth_client_id=os.environ.get("OAUTH_CLIENT_ID"),
    oauth_client_key=os.environ.get("OAUTH_KEY_PEM"),
    oauth_key_id=os.environ.get("OAUTH_KEY_ID"),
    oauth_auth_server=HOST,
)
client.identify("ada", {"plan": "pro"})
client.page("ada", name="Home")
client.screen("ada", name="Start")
client.group("ada", "acme", {"employees": 12})
client.alias("anonymous", "ada")
for number in range(20):
    client.track("ada", f"Event {number}", {"number": number})
client.flush()
client.shutdown()
check(not errors, f"the SDK reports no loss: {errors}")
step("everything is sent")
