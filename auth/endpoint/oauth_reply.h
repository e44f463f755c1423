/* Error responses of the OAuth endpoints, which say what to do, and the quota headers. Descriptions
 * never repeat input.
 */
#ifndef AUTH_ENDPOINT_OAUTH_REPLY_H
#define AUTH_ENDPOINT_OAUTH_REPLY_H

#include <h2o.h>

#include "auth/client/client.h"
#include "auth/client/throttle.h"
#include "auth/oauth_error.h"
#include "common/slice.h"

/* Replies with the error's own status, or with another, and wipes the body and the Authorization
 * header. `description` lives as long as the request. */
void oauth_reply_error(h2o_req_t *req, enum oauth_error error, const char *description);
void oauth_reply_error_with_status(h2o_req_t *req, enum oauth_error error, int status,
                                   const char *description);

/* 401: the same for an unknown client, a wrong or expired secret, and a disabled client. */
void oauth_reply_invalid_client(h2o_req_t *req);

/* 503 with Retry-After: 1. */
void oauth_reply_try_later(h2o_req_t *req, const char *description);

/* 429: too many failed authentications; 503 if the limit is the whole process's. */
void oauth_reply_slow_down(h2o_req_t *req, struct throttle_refusal refusal);

/* 429: the client asks more often in a second than JOTD_INTROSPECT_PER_SECOND. */
void oauth_reply_too_often(h2o_req_t *req);

/* 429: the quota is used up. */
void oauth_reply_quota_used_up(h2o_req_t *req, const struct client *client,
                               const struct quota_left *left);

/* Adds the quota headers to whatever response follows. `left` as in limiter.h. */
void oauth_reply_quota_headers(h2o_req_t *req, const struct client *client,
                               const struct quota_left *left);

#endif
