// Asks about a token, revokes it and asks again, once with oauth4webapi and once with openid-client.
// Prints the answers by library.
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, TOKENS } = process.env
const issuer = new URL(ISSUER)
const insecure = { [oauth.allowInsecureRequests]: true } // the server has no TLS
const [one, other] = TOKENS.split(' ')

async function byOauth4webapi(token) {
  const server = await oauth.processDiscoveryResponse(issuer,
    await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }))
  const client = { client_id: CLIENT_ID }
  const authentication = oauth.ClientSecretBasic(CLIENT_SECRET)
  const introspect = async () => oauth.processIntrospectionResponse(server, client,
    await oauth.introspectionRequest(server, client, authentication, token, insecure))
  const before = await introspect()
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, authentication, token, insecure))
  return [before, await introspect()]
}

async function byOpenidClient(token) {
  const config = await openid.discovery(issuer, CLIENT_ID, undefined,
    openid.ClientSecretPost(CLIENT_SECRET),
    { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] })
  const before = await openid.tokenIntrospection(config, token)
  await openid.tokenRevocation(config, token)
  return [before, await openid.tokenIntrospection(config, token)]
}

console.log(JSON.stringify({
  oauth4webapi: await byOauth4webapi(one), openidClient: await byOpenidClient(other)
}))
