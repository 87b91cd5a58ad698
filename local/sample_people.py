"""RandomUser's API, in the format of https://randomuser.me/documentation: people who do not exist.

A seed and a place in its list make a person, so a seed's pages hold the same people each time.
Addresses of email end in example.com, numbers of phones are those that are kept for films.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import uuid
from dataclasses import dataclass

from werkzeug.wrappers import Request, Response

VERSION = "1.4"
MOST_RESULTS = 5000  # asked for more, the API gives one


@dataclass(frozen=True)
class Country:
    name: str
    places: tuple[tuple[str, str], ...]  # (city, state)
    streets: tuple[str, ...]
    first: tuple[tuple[str, ...], tuple[str, ...]]  # women, men
    last: tuple[str, ...]
    postcode: str  # 9 stands for a digit, A for a letter; all digits: a number in JSON
    document: str  # empty: people have none, and its value is null
    offset: str


COUNTRIES = {
    "US": Country(
        "United States", (("Seattle", "Washington"), ("Austin", "Texas"), ("Duluth", "Minnesota")),
        ("Oak Lawn Ave", "Pecan Acres Ln", "Mcclellan Rd"), (("Ada", "Grace", "Ruth"), ("Alan", "Hugh", "Earl")),
        ("Carter", "Hughes", "Wells"), "99999", "SSN", "-8:00",
    ),
    "GB": Country(
        "United Kingdom", (("Leeds", "West Yorkshire"), ("Truro", "Cornwall")), ("Mill Lane", "St. John's Road"),
        (("Mary", "Edith", "Joan"), ("Alfred", "Keith", "Noel")), ("O'Neill", "Fox", "Day"), "A9 9AA", "NINO", "0:00",
    ),
    "DE": Country(
        "Germany", (("Köln", "Nordrhein-Westfalen"), ("Weißwasser", "Sachsen")), ("Gartenstraße", "Am Bahnhof"),
        (("Käthe", "Emmy", "Lise"), ("Jürgen", "Max", "Götz")), ("Müller", "Weiß", "Groß"), "99999", "SVNR", "+1:00",
    ),
    "NO": Country(
        "Norway", (("Tromsø", "Troms"), ("Ålesund", "Møre og Romsdal")), ("Fjellveien", "Øvre gate"),
        (("Åse", "Liv", "Sølvi"), ("Bjørn", "Håkon", "Odd")), ("Bakke", "Østby", "Næss"), "9999", "FN", "+1:00",
    ),
    "BR": Country(
        "Brazil", (("São Luís", "Maranhão"), ("Ijuí", "Rio Grande do Sul")), ("Rua das Flores", "Rua São João"),
        (("Conceição", "Iara", "Luísa"), ("João", "Cauã", "Davi")), ("da Rosa", "Araújo", "Gonçalves"), "99999",
        "CPF", "-3:00",
    ),
    "FI": Country(
        "Finland", (("Rääkkylä", "Pohjois-Karjala"), ("Turku", "Varsinais-Suomi")), ("Hämeenkatu", "Pirkankatu"),
        (("Aino", "Eevi", "Minea"), ("Väinö", "Onni", "Eetu")), ("Mäkelä", "Wirtanen", "Laine"), "99999",
        "", "+2:00",
    ),
}  # fmt: skip


def respond(request: Request, path: str) -> Response:
    """`/api/` with `results`, `page` and `seed`, as JSON."""
    if path.rstrip("/") != "/api":
        return _json({"error": "Uh oh, something has gone wrong. There is no such page."}, 404)
    results = request.args.get("results", 1, type=int)
    if not 1 <= results <= MOST_RESULTS:
        results = 1
    page = max(1, request.args.get("page", 1, type=int))
    seed = request.args.get("seed") or random.Random().randbytes(8).hex()
    people = [person(seed, number) for number in range((page - 1) * results, page * results)]
    return _json({"results": people, "info": {"seed": seed, "results": results, "page": page, "version": VERSION}})


def person(seed: str, number: int) -> dict:
    """The person at place `number`, from 0, of a seed's list."""
    rng = random.Random(f"{seed} {number}")
    nationality = rng.choice(list(COUNTRIES))
    country = COUNTRIES[nationality]
    gender = rng.randrange(2)
    first, last = rng.choice(country.first[gender]), rng.choice(country.last)
    city, state = rng.choice(country.places)
    ascii_name = "".join(c for c in f"{first}.{last}".lower() if c.isascii() and (c.isalnum() or c == "."))
    password = f"{rng.choice(('tiger', 'velvet', 'comet'))}{rng.randrange(100)}"
    salt = "".join(rng.choices("abcdefghijkmnpqrstuvwxyz", k=8))
    postcode = "".join(
        rng.choice("123456789") if c == "9" else rng.choice("BDEHLNRS") if c == "A" else c for c in country.postcode
    )
    born, registered = _moment(rng, 1945, 55), _moment(rng, 2002, 20)
    portrait = f"{('women', 'men')[gender]}/{rng.randrange(100)}.jpg"
    return {
        "gender": ("female", "male")[gender],
        "name": {"title": (("Ms", "Mrs"), ("Mr", "Mr"))[gender][rng.randrange(2)], "first": first, "last": last},
        "location": {
            "street": {"number": rng.randrange(1, 9999), "name": rng.choice(country.streets)},
            "city": city,
            "state": state,
            "country": country.name,
            "postcode": int(postcode) if postcode.isdecimal() else postcode,
            "coordinates": {
                "latitude": f"{rng.uniform(-90, 90):.4f}",
                "longitude": f"{rng.uniform(-180, 180):.4f}",
            },
            "timezone": {"offset": country.offset, "description": f"{city}, {country.name}"},
        },
        "email": f"{ascii_name}.{number}@example.com",
        "login": {
            "uuid": str(uuid.UUID(bytes=rng.randbytes(16), version=4)),
            "username": f"{rng.choice(('happy', 'big', 'silver'))}{rng.choice(('bird', 'panda', 'lion'))}{number}",
            "password": password,
            "salt": salt,
            **{name: hashlib.new(name, f"{password}{salt}".encode()).hexdigest() for name in ("md5", "sha1", "sha256")},
        },
        "dob": {"date": born, "age": 2026 - int(born[:4])},
        "registered": {"date": registered, "age": 2026 - int(registered[:4])},
        "phone": f"555-01{rng.randrange(100):02}-{number:04}",
        "cell": f"555-01{rng.randrange(100):02}-{number + 5000:04}",
        "id": {
            "name": country.document,
            "value": f"{rng.randrange(10**9):09}" if country.document else None,
        },
        "picture": {
            "large": f"https://randomuser.me/api/portraits/{portrait}",
            "medium": f"https://randomuser.me/api/portraits/med/{portrait}",
            "thumbnail": f"https://randomuser.me/api/portraits/thumb/{portrait}",
        },
        "nat": nationality,
    }


def _moment(rng: random.Random, year: int, years: int) -> str:
    start = dt.datetime(year, 1, 1, tzinfo=dt.UTC)
    moment = start + dt.timedelta(milliseconds=rng.randrange(years * 365 * 86_400_000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), status, content_type="application/json; charset=utf-8")
