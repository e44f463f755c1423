// Requests for and about tokens, and checks of their answers.
import encoding from 'k6/encoding';
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

export const tokens = new Counter('tokens');
export const hits = new Counter('cache_hits');
export const misses = new Counter('cache_misses');
export const overQuota = new Counter('over_quota');
export const wrongSecrets = new Counter('wrong_secrets');
export const revocations = new Counter('revocations');

const FORM = { grant_type: 'client_credentials' };
const PART = /^[A-Za-z0-9_-]+$/;

// 401 and 429 are refusals that a scenario may provoke; any other status is a failure.
const EXPECTED = http.expectedStatuses(200, 401, 429);

function decode(part) {
  return JSON.parse(encoding.b64decode(part, 'rawurl', 's'));
}

// RFC 9068 2: three parts, with the header and claims expected for this client.
function isToken(text, client) {
  const parts = text.split('.');
  if (parts.length !== 3 || !parts.every((part) => PART.test(part))) return false;
  const header = decode(parts[0]);
  const claims = decode(parts[1]);
  const now = Date.now() / 1000;
  return header.alg === __ENV.ALG && header.typ === 'at+jwt' && header.kid.length === 43 &&
    claims.sub === client.id && claims.client_id === client.id && claims.scope === 'read write' &&
    claims.aud === 'https://api.example.com' && claims.jti.length === 36 &&
    claims.exp - claims.iat === 3600 && Math.abs(claims.iat - now) < 60;
}

// All quota headers, consistent with each other; none for a client of tier unlimited.
function tellsQuota(response, client) {
  const limit = response.headers['X-Ratelimit-Limit'];
  if (client.tier === 'unlimited') return limit === undefined;
  return response.headers['Ratelimit-Policy'] !== undefined &&
    response.headers.Ratelimit !== undefined &&
    Number(response.headers['X-Ratelimit-Remaining']) <= Number(limit) &&
    Number(response.headers['X-Ratelimit-Reset']) > 0;
}

const common = {
  'is JSON that no cache keeps': (r) => r.headers['Content-Type'] === 'application/json' &&
    r.headers['Cache-Control'] === 'no-store' && r.headers.Pragma === 'no-cache',
};

const issued = {
  ...common,
  'status 200': (r) => r.status === 200,
  'a bearer token for an hour': (r) => r.json('token_type') === 'Bearer' &&
    r.json('expires_in') === 3600,
  'X-Cache-Status': (r) => /^(HIT|MISS|STALE)$/.test(r.headers['X-Cache-Status']),
};

const refusedForQuota = {
  ...common,
  'status 429 rate_limit_exceeded': (r) => r.status === 429 &&
    r.json('error') === 'rate_limit_exceeded',
  'Retry-After in seconds': (r) => /^[1-9][0-9]*$/.test(r.headers['Retry-After']),
};

const refused = {
  ...common,
  'status 401 invalid_client, or 429 slow_down': (r) =>
    (r.status === 401 && r.json('error') === 'invalid_client' &&
      r.headers['Www-Authenticate'] !== undefined) ||
    (r.status === 429 && r.json('error') === 'slow_down' &&
      r.headers['Retry-After'] !== undefined),
};

function post(client, secret, headers, path = '/token', form = FORM) {
  return http.post(`${__ENV.URL}${path}`, form, {
    headers: { Authorization: `Basic ${encoding.b64encode(`${client.id}:${secret}`)}`, ...headers },
    responseCallback: EXPECTED,
  });
}

// A client with the right secret; if `mayBeLimited`, a refusal for its quota is also accepted.
// Returns the token, if there is one.
export function ask(client, mayBeLimited = false) {
  const response = post(client, client.secret);
  if (mayBeLimited && response.status === 429) {
    overQuota.add(1);
    check(response, { ...refusedForQuota, 'quota headers': (r) => tellsQuota(r, client) });
    return undefined;
  }
  if (!check(response, issued)) return undefined;
  tokens.add(1);
  (response.headers['X-Cache-Status'] === 'MISS' ? misses : hits).add(1);
  check(response, {
    'an RFC 9068 token of this client': (r) => isToken(r.json('access_token'), client),
    'quota headers': (r) => tellsQuota(r, client),
  });
  return response.json('access_token');
}

// A client asks about its own token. RFC 7662 2.2: nothing is said about one that is not active.
export function introspect(client, token, active = true) {
  check(post(client, client.secret, {}, '/introspect', { token }), {
    ...common,
    'status 200': (r) => r.status === 200,
    'active or not, as it is': (r) => (active
      ? r.json('active') === true && r.json('client_id') === client.id && r.json('exp') > 0
      : r.body === '{"active":false}'),
  });
}

// A client revokes its own token, which is then inactive.
export function revoke(client, token) {
  const answer = post(client, client.secret, {}, '/revoke', { token });
  if (check(answer, { 'status 200, no body': (r) => r.status === 200 && !r.body }))
    revocations.add(1);
  introspect(client, token, false);
}

// A well-formed secret of another client, from a random address: failures count by address.
export function guess(client, other) {
  const byte = () => Math.floor(Math.random() * 256);
  wrongSecrets.add(1);
  check(post(client, other.secret, { 'X-Forwarded-For': `10.${byte()}.${byte()}.${byte()}` }),
    refused);
}
