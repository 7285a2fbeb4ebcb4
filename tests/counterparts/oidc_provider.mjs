// An OIDC issuer on loopback: client credentials and RFC 9068 access tokens for programs; authorization code and PKCE for people
// of the console at CONSOLE_ORIGIN, if there is one; a key that changes on POST /rotate, and roles that change on POST /role.
// Run with the folder of the installed package as the only argument; prints its port once it answers.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.argv[2]}/`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const console_ = process.env.CONSOLE_ORIGIN;
const people = {
  ada: { email: 'ada@example.com', roles: ['payments-leads', 'office'] },
  vera: { email: 'vera@example.com', roles: ['payments-readers'] },
  otto: { email: 'otto@example.com', roles: ['office'] },
  admin: { email: 'admin@example.com', roles: ['payments-readers'] },
};
const keys = [];
let provider;
let handle;

function addKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: `key-${keys.length + 1}`, use: 'sig', alg: 'ES256' });
}

function page(title, body) {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head><body><h1>${title}</h1>${body}</body></html>`;
}

function clients() {
  const shop = {
    client_id: 'shop',
    client_secret: 'shop-secret-for-tests-only',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
  };
  const desk = {
    client_id: 'desk',
    client_secret: 'desk+secret for tests/only',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris: [`${console_}/console/sign-in/callback`],
    post_logout_redirect_uris: [`${console_}/console/sign-in`],
    id_token_signed_response_alg: 'ES256',
  };
  return console_ ? [shop, desk] : [shop];
}

function serve(issuer) {
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: clients(),
    cookies: { keys: ['a key for tests only'] },
    scopes: ['openid', 'profile', 'email', 'roles'],
    claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email'], roles: ['realm_access'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({
        sub: `person-${id}`,
        preferred_username: id,
        email: people[id].email,
        realm_access: { roles: people[id].roles },
      }),
    }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    async loadExistingGrant(ctx) {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid profile email roles');
      await grant.save();
      return grant;
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = page('Sign out?', `${form}<button form="op.logoutForm" name="logout" value="yes">Yes</button>`);
        },
        postLogoutSuccessSource: (ctx) => {
          ctx.body = page('Signed out', '');
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx) => (ctx.oidc.client?.clientId === 'shop' ? 'urn:interlock' : undefined),
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'payments:read payments:write',
          audience: resource === 'urn:other' ? 'other' : 'interlock',
          accessTokenTTL: 300,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256', kid: keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (_ctx, token) => (token.aud === 'interlock' ? { tenant: 'ten_outside' } : {}),
  });
  handle = provider.callback();
}

async function formOf(request) {
  let text = '';
  for await (const part of request) text += part;
  return new URLSearchParams(text);
}

async function interaction(request, response) {
  if (request.method === 'POST') {
    const form = await formOf(request);
    const name = form.get('login');
    if (form.has('cancel') || !(name in people)) {
      await provider.interactionFinished(request, response, { error: 'access_denied' });
      return;
    }
    await provider.interactionFinished(request, response, { login: { accountId: name } });
    return;
  }
  const { uid } = await provider.interactionDetails(request, response);
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end(page('Who are you?', `<form method="post" action="/interaction/${uid}"><label>Name <input name="login"></label>
    <button name="go">Sign in</button><button name="cancel">Cancel</button></form>`));
}

addKey();
const server = createServer(async (request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    addKey();
    serve(`http://127.0.0.1:${server.address().port}`);
    response.writeHead(204).end();
    return;
  }
  if (request.method === 'POST' && request.url === '/role') {
    const form = await formOf(request);
    people[form.get('name')].roles = form.getAll('role');
    response.writeHead(204).end();
    return;
  }
  if (request.url.startsWith('/interaction/')) {
    await interaction(request, response);
    return;
  }
  handle(request, response);
});
server.listen(0, '127.0.0.1', () => {
  serve(`http://127.0.0.1:${server.address().port}`);
  process.stdout.write(`${server.address().port}\n`);
});
