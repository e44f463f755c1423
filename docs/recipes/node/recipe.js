// Gets a token with openid-client, and verifies one with oauth4webapi. See ../README.md.
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET } = process.env
// Only for an issuer without TLS, as on one's own machine.
const insecure = ISSUER.startsWith('http:')

// Call this once, and again shortly before expires_in seconds are over.
async function getToken() {
  const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined,
    client.ClientSecretBasic(CLIENT_SECRET),
    { algorithm: 'oauth2', execute: insecure ? [client.allowInsecureRequests] : [] })
  return client.clientCredentialsGrant(config, { scope: 'read', resource: AUDIENCE })
}

// Once for the whole program. The keys are cached with it.
const issuer = new URL(ISSUER)
const server = await oauth.processDiscoveryResponse(issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', [oauth.allowInsecureRequests]: insecure }))

// The claims, as RFC 9068 wants them; throws when the request's token is not for us.
function verify(request) {
  return oauth.validateJwtAccessToken(server, request, AUDIENCE,
    { signingAlgorithms: ['ES256', 'RS256'], [oauth.allowInsecureRequests]: insecure })
}

const token = process.env.TOKEN ?? (await getToken()).access_token // TOKEN: to verify one that is there
const request = new Request('https://api.example.com/', {
  headers: { authorization: `Bearer ${token}` }
})
console.log(JSON.stringify(await verify(request)))
