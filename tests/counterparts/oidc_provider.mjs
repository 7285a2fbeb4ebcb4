// An OIDC issuer on loopback: client credentials, RFC 9068 access tokens, and a key that changes on POST /rotate.
// Run with the folder of the installed package as the only argument; prints its port once it answers.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.argv[2]}/`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const keys = [];
let handle;

function addKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: `key-${keys.length + 1}`, use: 'sig', alg: 'ES256' });
}

function serve(issuer) {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: 'shop',
        client_secret: 'shop-secret-for-tests-only',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: 'ES256',
      },
    ],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:interlock',
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'payments:read payments:write',
          audience: resource === 'urn:other' ? 'other' : 'interlock',
          accessTokenTTL: 300,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256', kid: keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (_ctx, token) => (token.aud === 'other' ? {} : { tenant: 'ten_outside' }),
  });
  handle = provider.callback();
}

addKey();
const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    addKey();
    serve(`http://127.0.0.1:${server.address().port}`);
    response.writeHead(204).end();
    return;
  }
  handle(request, response);
});
server.listen(0, '127.0.0.1', () => {
  serve(`http://127.0.0.1:${server.address().port}`);
  process.stdout.write(`${server.address().port}\n`);
});
