import logging
import threading
import time

import jwt
import requests


class Verifier:
    """One for the whole program. `credentials`: id and secret of a client that may introspect."""

    def __init__(self, issuer, audience, credentials, poll_s=5, stale_s=60):
        self.issuer, self.audience, self.stale_s = issuer, audience, stale_s
        self.keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json", lifespan=300)
        self.http = requests.Session()
        self.http.auth = credentials
        self.revoked, self.cursor, self.read_at = {}, "", float("-inf")
        threading.Thread(target=self.keep_reading, args=(poll_s,), daemon=True).start()

    def verify(self, token):
        """Returns the claims; raises jwt.PyJWTError."""
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        claims = jwt.decode(token, self.keys.get_signing_key_from_jwt(token).key,
                            algorithms=["ES256", "RS256"], issuer=self.issuer,
                            audience=self.audience, options={"require": ["exp", "jti"]})
        if time.monotonic() - self.read_at > self.stale_s:  # fails closed
            raise jwt.PyJWTError("it is not known which tokens are revoked")
        if claims["jti"] in self.revoked:
            raise jwt.InvalidTokenError("revoked")
        return claims

    def keep_reading(self, poll_s):
        while True:
            try:
                self.read()
            except Exception as error:  # whatever it was, it tries again
                logging.warning("reading revoked tokens: %s", error)
            time.sleep(poll_s)

    def read(self):
        began, more = time.monotonic(), True
        while more:
            answer = self.http.get(self.issuer + "/revocations", params={"since": self.cursor},
                                   timeout=10)
            if answer.status_code == 410 and self.cursor:  # begin again, and keep what is here
                self.cursor = ""
                continue
            answer.raise_for_status()
            page = answer.json()
            self.revoked.update(page["revoked"])
            self.cursor, more = page["cursor"], page["more"]
        now = time.time()
        self.revoked = {jti: exp for jti, exp in self.revoked.items() if exp > now}
        self.read_at = began
