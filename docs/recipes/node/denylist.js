import * as jose from 'jose'

// One for the whole program. The client is one that may introspect.
export class Verifier {
  #revoked = new Map() // exp by jti
  #cursor = ''
  #readAt = -Infinity

  constructor({ issuer, audience, clientId, clientSecret, pollMs = 5000, staleMs = 60_000 }) {
    Object.assign(this, { issuer, audience, staleMs })
    this.keys = jose.createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`))
    this.authorization = `Basic ${btoa(`${clientId}:${clientSecret}`)}`
    this.#keepReading(pollMs)
  }

  // Returns the claims; throws if the token is not for us, or is revoked.
  async verify(token) {
    const { payload } = await jose.jwtVerify(token, this.keys, {
      issuer: this.issuer, audience: this.audience, typ: 'at+jwt',
      algorithms: ['ES256', 'RS256'], requiredClaims: ['exp', 'jti']
    })
    if (performance.now() - this.#readAt > this.staleMs) { // fails closed
      throw new Error('it is not known which tokens are revoked')
    }
    if (this.#revoked.has(payload.jti)) throw new Error('revoked')
    return payload
  }

  async #keepReading(pollMs) {
    await this.#read().catch((error) => console.error('reading revoked tokens:', error.message))
    setTimeout(() => this.#keepReading(pollMs), pollMs).unref()
  }

  async #read() {
    const began = performance.now()
    for (let more = true; more;) {
      const answer = await fetch(`${this.issuer}/revocations?since=${this.#cursor}`, {
        headers: { authorization: this.authorization }, signal: AbortSignal.timeout(10_000)
      })
      if (answer.status === 410 && this.#cursor) { // begin again, and keep what is here
        this.#cursor = ''
        continue
      }
      if (!answer.ok) throw new Error(`status ${answer.status}`)
      const page = await answer.json()
      for (const [jti, exp] of page.revoked) this.#revoked.set(jti, exp)
      this.#cursor = page.cursor
      more = page.more
    }
    for (const [jti, exp] of this.#revoked) if (exp <= Date.now() / 1000) this.#revoked.delete(jti)
    this.#readAt = began
  }
}
