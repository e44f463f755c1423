// Verifies the tokens on stdin, one a line. Answers each with `ok` or the error.
import { createInterface } from 'node:readline'
import { Verifier } from './denylist.js'

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET, POLL_S, STALE_S } = process.env
const verifier = new Verifier({
  issuer: ISSUER, audience: AUDIENCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET,
  pollMs: 1000 * POLL_S, staleMs: 1000 * STALE_S
})
for await (const token of createInterface({ input: process.stdin })) {
  console.log(await verifier.verify(token).then(() => 'ok', (error) => error.message))
}
