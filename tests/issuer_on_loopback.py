"""An OpenID Connect issuer on loopback, and what it signs."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "the-api"
RSA, OTHER_RSA = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())


def public(key, key_id, algorithm):
    made = (jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm).to_jwk(
        key.public_key()
    )
    return {**json.loads(made), "kid": key_id, "use": "sig", "alg": algorithm}


class Issuer:
    """On loopback: `keys` are those that it tells of, `asked` the paths that it was asked for."""

    def __init__(self):
        self.keys = [public(RSA, "rsa", "RS256"), public(EC, "ec", "ES256")]
        self.asked, self.broken, self.calls_itself = [], False, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                known = {
                    "/.well-known/openid-configuration": {
                        "issuer": outer.calls_itself or outer.url,
                        "jwks_uri": f"{outer.url}/keys",
                    },
                    "/keys": {"keys": outer.keys},
                }
                body = json.dumps(known.get(self.path, {})).encode()
                self.send_response(500 if outer.broken else 200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def claims(told, **more):
    given = {"iss": told.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60, "scope": "read openid"}
    return {name: value for name, value in {**given, **more}.items() if value is not None}


def signed(given, key=RSA, key_id="rsa", algorithm="RS256"):
    return jwt.encode(given, key, algorithm=algorithm, headers={"kid": key_id})
