"""A stranger's verifier: PyJWT with its own caching JWKS client.

One JSON line in, one out: {"token"} -> {"verdict": "accepted" | "rejected", "kid", "why"}.
The process stays up over a rotation, so that its cache is the one of a real client.
"""

import base64
import json
import sys

import jwt
from jwt import PyJWKClient

ALGORITHMS = ["ES256", "ES384", "PS256", "RS256", "EdDSA"]
# cooldown_duration is how soon an unknown kid may cause another fetch; the default is 30 s.
client = PyJWKClient(sys.argv[1], cooldown_duration=float(sys.argv[2]))


def verify(token, payload):
    header = jwt.get_unverified_header(token)
    detached = None
    if payload is not None and header.get("b64", True):
        # RFC 7515 appendix F: the payload is put back where it was taken out.
        head, _, signature = token.split(".")
        token = f"{head}.{payload}.{signature}"
    elif payload is not None:
        detached = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    key = client.get_signing_key(header.get("kid"))
    return jwt.PyJWS().decode_complete(token, key, algorithms=ALGORITHMS, detached_payload=detached)["header"]["kid"]


for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = {"verdict": "accepted", "kid": verify(question["token"], question.get("payload"))}
    except Exception as error:  # whatever it is, this client does not accept the token
        answer = {"verdict": "rejected", "why": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
