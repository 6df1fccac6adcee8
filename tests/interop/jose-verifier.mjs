// A stranger's verifier: npm jose with its own caching JWKS client.
//
// One JSON line in, one out: {"token"} -> {"verdict": "accepted" | "rejected", "kid", "why"}.
// The process stays up over a rotation, so that its cache is the one of a real client.
import { createInterface } from "node:readline";
import { createRemoteJWKSet, compactVerify, flattenedVerify } from "jose";

const [url, cooldown] = process.argv.slice(2);
// cooldownDuration is how soon an unknown kid may cause another fetch; the default is 30 s.
const keys = createRemoteJWKSet(new URL(url), { cooldownDuration: Number(cooldown) * 1000 });
const options = { crit: { b64: true } };

async function verify({ token, payload }) {
  if (payload === undefined) return compactVerify(token, keys);
  // Detached: the payload travels beside the token, as itself (RFC 7797) or in base64url (RFC 7515 appendix F).
  const [header, , signature] = token.split(".");
  const { b64 = true } = JSON.parse(Buffer.from(header, "base64url"));
  const bytes = Buffer.from(payload, "base64url");
  return flattenedVerify({ protected: header, signature, payload: b64 ? payload : bytes }, keys, options);
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { protectedHeader } = await verify(JSON.parse(line));
    answer = { verdict: "accepted", kid: protectedHeader.kid };
  } catch (error) {
    answer = { verdict: "rejected", why: error.code ?? String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
