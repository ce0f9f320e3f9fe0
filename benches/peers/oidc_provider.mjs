// node-oidc-provider as Deputy's benchmark measures it: everything in memory, nothing durable. ES256 JWT access tokens for
// client_credentials; introspection of opaque ones, since it introspects no JWT.
//
// Serves until its standard input ends, as each server of the benchmark does. Its first line tells where it is and how to ask it.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

const RESOURCE = 'http://127.0.0.1:9401/mcp';
const OPAQUE_RESOURCE = 'http://127.0.0.1:9401/opaque';
const SCOPE = 'notes:read notes:write';

// The library decides at import whether it warns of what a development set-up lacks.
process.env.NODE_ENV = 'production';
const { default: Provider } = await import('oidc-provider');

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const secret = () => randomBytes(32).toString('base64url');
const agent = { client_id: 'agent', client_secret: secret(), grant_types: ['client_credentials'], scope: SCOPE };
const resource = { client_id: 'resource', client_secret: secret(), grant_types: [] };

const listener = createServer();
await new Promise((listening) => listener.listen(0, '127.0.0.1', listening));
const address = `127.0.0.1:${listener.address().port}`;

const provider = new Provider(`http://${address}`, {
    clients: [agent, resource].map((client) => ({
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_basic',
        id_token_signed_response_alg: 'ES256',
        ...client,
    })),
    scopes: SCOPE.split(' '),
    jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256' }] },
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        introspection: { enabled: true },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo: (_, indicator) => ({
                scope: SCOPE,
                audience: indicator,
                accessTokenTTL: 600,
                accessTokenFormat: indicator === OPAQUE_RESOURCE ? 'opaque' : 'jwt',
                jwt: { sign: { alg: 'ES256' } },
            }),
        },
    },
});
listener.on('request', provider.callback());

const basic = ({ client_id, client_secret }) => `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`;
const form = (target) => new URLSearchParams({ grant_type: 'client_credentials', scope: SCOPE, resource: target }).toString();
console.log(JSON.stringify({
    address,
    token: { path: '/token', authorization: basic(agent), body: form(RESOURCE) },
    introspected_token: { path: '/token', authorization: basic(agent), body: form(OPAQUE_RESOURCE) },
    introspection: { path: '/token/introspection', authorization: basic(resource) },
}));

process.stdin.on('end', () => process.exit(0)).resume();
