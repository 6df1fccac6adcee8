// An issuer by other people: npm oidc-provider on loopback, told what to do in JSON lines.
//
//   {"do": "token", "client", "resource"} -> {"token"}     a JWT access token (RFC 9068) by the client credentials grant
//   {"do": "rotate", "kid", "keep"}       -> {"kid"}       a new signing key; `keep`: the old ones are still published
//   {"do": "leave"}, {"do": "return"}     -> {}            it stops listening, and listens again
//   {"do": "asked"}                       -> {"keys"}      how often its key set was asked for
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [port, alg] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const curve = alg === "ES256" ? ["ec", { namedCurve: "P-256" }] : ["rsa", { modulusLength: 2048 }];

const groups = { "signer-app": ["signers"], "watcher-app": ["watchers"], "plain-app": [] };
let keys = [];
let provider;
let asked = 0;

function make(kid) {
  const { privateKey } = generateKeyPairSync(...curve);
  return { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
}

function provide() {
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: Object.keys(groups).map((client_id) => ({
      client_id, client_secret: "secret", grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: alg,
    })),
    extraTokenClaims: (ctx, token) => ({ groups: groups[token.clientId] }),
    ttl: { ClientCredentials: 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: "sign", audience: resource.replace("urn:", ""), accessTokenFormat: "jwt", jwt: { sign: { alg } },
        }),
      },
    },
  }).callback();
}

let server;
function listen() {
  return new Promise((done) => {
    server = createServer((request, response) => {
      if (request.url.startsWith("/jwks")) asked += 1;
      provider(request, response);
    });
    server.listen(Number(port), "127.0.0.1", done);
  });
}

const acts = {
  async token({ client, resource }) {
    const response = await fetch(`${issuer}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${Buffer.from(`${client}:secret`).toString("base64")}` },
      body: new URLSearchParams({ grant_type: "client_credentials", resource }),
    });
    const { access_token: token, ...rest } = await response.json();
    return { token, rest };
  },
  async rotate({ kid, keep }) {
    keys = [make(kid), ...(keep ? keys : [])];
    provide();
    return { kid };
  },
  async leave() {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    return {};
  },
  async return() {
    await listen();
    return {};
  },
  async asked() {
    return { keys: asked };
  },
};

// Its warnings about http and weak cookies are not about this.
console.warn = console.info = console.error = () => {};
await acts.rotate({ kid: "first", keep: false });
await listen();
process.stdout.write("{}\n");
for await (const line of createInterface({ input: process.stdin })) {
  const act = JSON.parse(line);
  process.stdout.write(JSON.stringify(await acts[act.do](act)) + "\n");
}
process.exit(0);
