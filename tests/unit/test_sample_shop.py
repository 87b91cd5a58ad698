"""The shop of the worked example: it lets in who logged in, divides its days into pages, and refuses every tenth."""

import base64
import datetime as dt
import json

import pytest
from werkzeug.test import Client

from local import sample_api, sample_shop

SHOP = f"/{sample_shop.HOST}"
DAY = dt.date(2026, 1, 1)


@pytest.fixture
def api():
    return Client(sample_api.app)


def log_in(api, client=sample_shop.CLIENT, **form):
    header = {"Authorization": f"Basic {base64.b64encode(client.encode()).decode()}"}
    return api.post(f"{SHOP}/oauth/token", headers=header, data={"grant_type": "client_credentials", **form})


def test_the_pages_of_a_day_hold_its_orders_and_one_request_in_ten_is_too_many(api):
    header = {"Authorization": f"Bearer {log_in(api).json['access_token']}"}
    found, cursor, refused, asked = [], "0", 0, 0
    for _ in range(30):
        asked += 1
        answer = api.get(f"{SHOP}/v1/orders?day={DAY}&cursor={cursor}", headers=header)
        if answer.status_code == 429:
            refused += 1
            assert answer.headers["Retry-After"] == "1"
            continue
        found += answer.json["orders"]
        cursor = answer.json["next"]
        if cursor is None:
            assert found == sample_shop.orders(DAY)
            found, cursor = [], "0"
    assert refused == 3
    assert len({order["id"] for order in sample_shop.orders(DAY)}) == len(sample_shop.orders(DAY)) >= 25


def test_who_has_not_logged_in_or_with_another_secret_gets_nothing(api):
    assert api.get(f"{SHOP}/v1/orders?day={DAY}").status_code == 401
    assert log_in(api, "sluice-sample:guess").status_code == 401
    assert log_in(api, grant_type="password").status_code == 400


def test_nobody_has_ordered_yet_tomorrow_and_other_hosts_take_no_post(api):
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    assert sample_shop.orders(tomorrow) == sample_shop.orders(dt.date(2019, 12, 31)) == []
    assert api.post("/jsonplaceholder.typicode.com/posts", data=json.dumps({})).status_code == 405
