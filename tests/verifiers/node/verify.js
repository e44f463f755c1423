// Verifies the tokens on stdin, one a line, with jose. Answers each with `ok` or the error, and the
// number of times that the keys have been fetched.
import { createInterface } from 'node:readline'
import * as jose from 'jose'

const { ISSUER, CACHE_MS } = process.env
let fetches = 0

// The cooldown of 30 s stays: until it is over, an unknown kid is an error and causes no fetch.
const keys = jose.createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`), {
  cacheMaxAge: Number(CACHE_MS),
  [jose.customFetch]: (...request) => {
    fetches += 1
    return fetch(...request)
  }
})

for await (const token of createInterface({ input: process.stdin })) {
  const said = await jose.jwtVerify(token, keys, { issuer: ISSUER, audience: ISSUER, typ: 'at+jwt' })
    .then(() => 'ok', (error) => error.code ?? String(error))
  console.log(`${said} ${fetches}`)
}
