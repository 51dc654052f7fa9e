// An issuer of OpenID Connect: node oidc.mjs MODULES PORT CONFIGURATION
// MODULES is the folder with node_modules, PORT 0 is any free one; CONFIGURATION has keys and clients.
// Its own page for logging in takes any name and password.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [modules, port, configuration] = process.argv.slice(2);
const { Provider } = await import(`${modules}/node_modules/oidc-provider/lib/index.js`);
const { keys, clients } = JSON.parse(readFileSync(configuration));
const server = createServer();
server.listen(Number(port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA', 'HS256'] },
    claims: { openid: ['sub', 'email', 'email_verified', 'groups'] },
    findAccount: (context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.test`, email_verified: true, groups: ['devs'] }),
    }),
    features: { devInteractions: { enabled: true } },
    conformIdTokenClaims: false,
    pkce: { required: () => false },
    cookies: { keys: ['of a test'] },
  });
  server.on('request', provider.callback());
  console.log(`issuer ${issuer}`);
});
