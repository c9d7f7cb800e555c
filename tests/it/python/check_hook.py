"""Checks the signature of a webhook as a receiver does.

    check_hook.py SECRET ID TIMESTAMP SIGNATURE BODY

Ends with 1 where it is not the sender's.
"""

import base64
import hashlib
import hmac
import sys


def main(secret, message, timestamp, signature, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message}.{timestamp}.{body}".encode()
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(expected, signature), (expected, signature)


main(*sys.argv[1:])
