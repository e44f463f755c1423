"""Verifies the tokens on stdin, one a line. Answers each with `ok` or the error."""

import os
import sys

import jwt
from denylist import Verifier

verifier = Verifier(os.environ["ISSUER"], os.environ["AUDIENCE"],
                    (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]),
                    float(os.environ["POLL_S"]), float(os.environ["STALE_S"]))
for line in sys.stdin:
    try:
        verifier.verify(line.strip())
        print("ok", flush=True)
    except jwt.PyJWTError as error:
        print(error, flush=True)
