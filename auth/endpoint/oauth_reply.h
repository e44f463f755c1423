/* What POST /token answers with: a token, or an error that says what to do; and what is left of the
 * client's quota. Descriptions never repeat input.
 */
#ifndef AUTH_ENDPOINT_OAUTH_REPLY_H
#define AUTH_ENDPOINT_OAUTH_REPLY_H

#include <h2o.h>
#include <stdint.h>

#include "auth/client/client.h"
#include "auth/client/throttle.h"
#include "auth/counters.h"
#include "common/slice.h"

/* As in the answer's `error`. */
const char *oauth_error_name(enum oauth_error error);

/* With the error's own status, or another. `description` lives as long as the request. */
void oauth_reply_error(h2o_req_t *req, enum oauth_error error, const char *description);
void oauth_reply_error_with_status(h2o_req_t *req, enum oauth_error error, int status,
                                   const char *description);

/* Counts and logs why an authentication failed: for the operator only, the answers are the same.
 * `client_id` is what was presented. */
void token_note_failure(h2o_req_t *req, enum auth_failure reason, struct slice client_id);

/* 401: one answer for an unknown client, a wrong or expired secret and a disabled client. */
void oauth_reply_invalid_client(h2o_req_t *req);

/* 503, worth another try in a second. */
void oauth_reply_try_later(h2o_req_t *req, const char *description);

/* 429: too many failed authentications. */
void oauth_reply_slow_down(h2o_req_t *req, struct throttle_refusal refusal);

/* 429: the quota is used up. */
void oauth_reply_quota_used_up(h2o_req_t *req, const struct client *client,
                               const struct quota_left *left);

/* Headers for whatever answer follows. `left` as in limiter.h. */
void oauth_reply_quota_headers(h2o_req_t *req, const struct client *client,
                               const struct quota_left *left);

/* 200 (RFC 6749 5.1). */
void token_answer(h2o_req_t *req, struct slice token, int64_t expires_in, struct slice scope);

#endif
