"""Gets a token with requests-oauthlib, and verifies one with PyJWT. See ../README.md."""

import json
import os

import jwt
import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
METADATA = requests.get(ISSUER + "/.well-known/oauth-authorization-server", timeout=10).json()


def get_token():
    """Call this once, and again shortly before `expires_in` seconds have passed."""
    client_id, secret = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
    session = OAuth2Session(client=BackendApplicationClient(client_id, scope="read"))
    return session.fetch_token(METADATA["token_endpoint"], auth=HTTPBasicAuth(client_id, secret),
                               resource=AUDIENCE)


KEYS = jwt.PyJWKClient(METADATA["jwks_uri"], lifespan=300)  # one for the whole program: it caches


def verify(token):
    """Returns the claims; raises jwt.PyJWTError if the token is not for us or its key cannot be
    found."""
    if jwt.get_unverified_header(token).get("typ") != "at+jwt":  # RFC 9068
        raise jwt.InvalidTokenError("not an access token")
    return jwt.decode(token, KEYS.get_signing_key_from_jwt(token).key, algorithms=["ES256", "RS256"],
                      issuer=ISSUER, audience=AUDIENCE,
                      options={"require": ["iss", "exp", "aud", "sub", "iat", "jti"]})


if __name__ == "__main__":
    there = os.environ.get("TOKEN")  # to verify an existing token
    print(json.dumps(verify(there or get_token()["access_token"])))
