"""A mail server (PyPI aiosmtpd) that says what it gets, one line of JSON for each message.

    smtp_receiver.py HOST:PORT [USER PASSWORD [CERTIFICATE KEY]]

With a certificate it demands STARTTLS. Lines on standard input say how the next messages are answered, such as
`451 come again`; it begins with `250 OK`.
"""

import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

answer = "250 OK"


class Handler:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
        # What is said is what is answered: the next line may change it in between.
        given = answer
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "headers": [[name, str(value)] for name, value in message.items()],
                    "body": message.get_content(),
                    "tls": session.ssl is not None,
                    "user": getattr(session, "user", None),
                    "answer": given,
                }
            ),
            flush=True,
        )
        return given


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    options = {}
    if len(sys.argv) > 2:
        user, password = (word.encode() for word in sys.argv[2:4])

        def authenticate(server, session, envelope, mechanism, data):
            good = (data.login, data.password) == (user, password)
            session.user = data.login.decode() if good else None
            return AuthResult(success=good, handled=good)

        options = {"auth_required": True, "authenticator": authenticate, "auth_require_tls": len(sys.argv) > 4}
    if len(sys.argv) > 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
        options |= {"tls_context": context, "require_starttls": True}
    controller = Controller(Handler(), hostname=host, port=int(port), **options)
    controller.start()
    print(json.dumps({"ready": True}), flush=True)
    global answer
    for line in sys.stdin:
        answer = line.strip()
    controller.stop()


main()
