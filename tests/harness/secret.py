"""Client secrets made without jotd."""

import secrets
import string
import zlib

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def make_secret():
    """As in auth/client/secret.c: jot_, 43 random characters, CRC-32 in base 62."""
    text = "jot_" + "".join(secrets.choice(DIGITS) for _ in range(43))
    crc, checksum = zlib.crc32(text.encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        checksum = DIGITS[digit] + checksum
    return text + checksum
