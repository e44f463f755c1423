// Gets a token with openid-client, and verifies one with oauth4webapi. See ../README.md.
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET } = process.env
// Only for an issuer without TLS, such as one on your own machine.
const insecure = ISSUER.startsWith('http:')

// Call this once, and again shortly before expires_in seconds have passed.
async function getToken() {
  const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined,
    client.ClientSecretBasic(CLIENT_SECRET),
    { algorithm: 'oauth2', execute: insecure ? [client.allowInsecureRequests] : [] })
  return client.clientCredentialsGrant(config, { scope: 'read', resource: AUDIENCE })
}

// Once for the whole program: the keys are cached with it.
const issuer = new URL(ISSUER)
const server = await oauth.processDiscoveryResponse(issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', [oauth.allowInsecureRequests]: insecure }))

// Returns the claims, checked as RFC 9068 requires; throws if the token is not for us.
function verify(request) {
  return oauth.validateJwtAccessToken(server, request, AUDIENCE,
    { signingAlgorithms: ['ES256', 'RS256'], [oauth.allowInsecureRequests]: insecure })
}

const token = process.env.TOKEN ?? (await getToken()).access_token // TOKEN: an existing one
const request = new Request('https://api.example.com/', {
  headers: { authorization: `Bearer ${token}` }
})
console.log(JSON.stringify(await verify(request)))
