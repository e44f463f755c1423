"""Signing keys that `jotd key create` does not make."""

import os
import time

import authlib.jose


def write_rsa_key(directory, bits):
    """A new key directory with an RS256 key of that size. A signature with 4,096 bits takes ten
    times as long as with the usual 2,048."""
    key = authlib.jose.RSAKey.generate_key(bits, is_private=True)
    directory.mkdir(mode=0o700)
    path = directory / f"{key.thumbprint()}.RS256.{int(time.time())}.pem"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.as_pem(is_private=True))
