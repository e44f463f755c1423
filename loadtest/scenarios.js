// What is requested, how often, and what must hold. load.py sets the environment and runs one.
//
// The load is open: requests start at a given rate, whether or not earlier ones were answered, as
// with many independent clients. Rates are shares of CAPACITY, in tokens per second.
import exec from 'k6/execution';
import { SharedArray } from 'k6/data';
import { ask, guess, introspect, revoke } from './token.js';

const clients = new SharedArray('clients', () =>
  open(__ENV.CREDENTIALS).trim().split('\n').map((line) => {
    const [id, secret, tier] = line.split('\t');
    return { id, secret, tier };
  }));
const free = clients.filter((client) => client.tier === 'free');
const paid = clients.slice(0, clients.length - free.length);
const ASKING = 100; // clients of `introspect`, each with a token
const HOT = 400; // with the cache size that load.py sets for `mixed`, these stay cached

const capacity = Number(__ENV.CAPACITY);
const duration = Number(__ENV.DURATION);

const USERS = { preAllocatedVUs: 256, maxVUs: 512, gracefulStop: '5s' };
// k6 shares the machine with the server: a stall of either may cost it a few starts.
const MAY_DROP = [`count<${Math.ceil(0.01 * capacity * duration)}`];
const LATENCY = ['p(95)<100', 'p(99)<500'];

function any(list, from = 0, to = list.length) {
  return list[from + Math.floor(Math.random() * (to - from))];
}

function constant(share, start, seconds, who = 'anyClient') {
  return {
    executor: 'constant-arrival-rate', exec: who, startTime: `${start}s`, duration: `${seconds}s`,
    rate: Math.round(share * capacity), timeUnit: '1s',
    ...USERS,
  };
}

function ramp(...stages) { // [share, seconds]
  return {
    executor: 'ramping-arrival-rate', exec: 'anyClient', startRate: 1, timeUnit: '1s',
    ...USERS,
    stages: stages.map(([share, seconds]) =>
      ({ target: Math.round(share * capacity), duration: `${seconds}s` })),
  };
}

// Before, during and after a burst. During it, requests may wait or never start (all of k6's users
// are busy), but every answer must be correct, and afterwards everything is as before.
function burst(usual, most) {
  const [before, during, after] = [0.3 * duration, 0.3 * duration, 0.4 * duration];
  return {
    scenarios: {
      before: constant(usual, 0, before),
      burst: constant(most, before, during),
      after: constant(usual, before + during + 2, after),
    },
    thresholds: {
      'http_req_duration{scenario:before}': LATENCY,
      'http_req_duration{scenario:after}': LATENCY,
      'dropped_iterations{scenario:before}': MAY_DROP,
      'dropped_iterations{scenario:after}': MAY_DROP,
    },
  };
}

const table = {
  smoke: {
    scenarios: { smoke: { ...constant(1, 0, duration), preAllocatedVUs: 8, maxVUs: 32 } },
  },
  load: {
    scenarios: { load: ramp([0.3, 0.3 * duration], [0.3, 0.6 * duration], [0, 0.1 * duration]) },
    thresholds: { http_req_duration: LATENCY, dropped_iterations: MAY_DROP },
  },
  stress: burst(0.25, 1.5),
  spike: burst(0.1, 3),
  soak: {
    scenarios: { soak: constant(0.3, 0, duration) },
    thresholds: { http_req_duration: LATENCY, dropped_iterations: MAY_DROP },
  },
  mixed: {
    scenarios: { mixed: constant(0.3, 0, duration, 'anyKind') },
    thresholds: {
      http_req_duration: LATENCY,
      dropped_iterations: MAY_DROP,
      cache_misses: ['count>0'],
      wrong_secrets: ['count>0'],
      over_quota: ['count>0'],
    },
  },
  introspect: {
    scenarios: { introspect: constant(0.3, 0, duration, 'aboutTokens') },
    thresholds: {
      http_req_duration: LATENCY,
      dropped_iterations: MAY_DROP,
      revocations: ['count>0'],
    },
  },
};

const chosen = table[__ENV.SCENARIO];

export const options = {
  ...chosen,
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    tokens: ['count>0'],
    ...chosen.thresholds,
  },
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
};

// Before `introspect`: its tokens.
export function setup() {
  return __ENV.SCENARIO === 'introspect' ? paid.slice(0, ASKING).map((client) => ask(client)) : [];
}

export function anyClient() {
  ask(any(paid));
}

// 80 % cached clients, 10 % any other clients, 5 % wrong secrets, 5 % a few clients that ask for
// more than they may have.
export function anyKind() {
  const kind = exec.scenario.iterationInTest % 20;
  if (kind < 16) ask(any(paid, 0, HOT));
  else if (kind < 18) ask(any(paid, HOT));
  else if (kind < 19) guess(any(paid, HOT), any(paid, 0, HOT));
  else ask(any(free), true);
}

// 19 of 20 ask about a token that is active, 1 gets a new one and revokes it.
export function aboutTokens(tokens) {
  const at = Math.floor(Math.random() * ASKING);
  if (exec.scenario.iterationInTest % 20 !== 0) introspect(paid[at], tokens[at]);
  else revoke(paid[at], ask(paid[at]));
}
