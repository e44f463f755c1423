/* The line, a queue of requests that were granted a token: signs, records and hands over tokens.
 *
 * Signing is slow, so each turn of the loop issues only as many tokens as it has time for: a burst
 * of requests does not hold up everything else. on_token is called as soon as the token's row is in
 * the pass. The caller must hold the response until issue_end_pass, which takes back tokens that
 * could not be recorded.
 */
#ifndef AUTH_TOKEN_ISSUE_H
#define AUTH_TOKEN_ISSUE_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/quota/tier.h"
#include "auth/token/access_token.h"
#include "auth/token/issue_mode.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/counter.h"
#include "common/histogram.h"
#include "common/slice.h"
#include "common/spool/spool.h"
#include "common/uuid.h"

struct issue_counters {
    struct counter issued[TIER_MAX];
    struct counter dropped; /* issued without a record for lack of room */
    struct histogram sign_durations[KEY_ALG_COUNT];
};

/* A token, valid during the call to on_token. */
struct issue_token {
    struct slice text;
    struct uuid jti;
    int64_t ttl_s; /* may be less than requested: no token outlives its key's publication */
};

/* Embedded in the requesting object. The caller owns all members except those marked private, and
 * keeps them alive until the request has left the line and the pass has ended. */
struct issue_request {
    struct issue_request *prev, *next; /* private */
    struct issue_request **list;       /* private: the list it is in, or NULL */
    struct slice client_id;
    unsigned tier; /* tier number (tier.h) */
    struct slice tier_name;
    int64_t ttl_s;
    struct slice scope;
    const struct slice *audiences;
    size_t audience_count;
    struct slice claims;       /* static ones, as in access_token.h */
    struct slice organization; /* empty: none */
    struct slice credential;   /* id of the secret that was used */
    void (*on_token)(struct issue_request *, const struct issue_token *token);
    /* No token now; `why` is a sentence for the client. May follow on_token in the same pass. */
    void (*on_refused)(struct issue_request *, const char *why);
};

/* Used by one thread. */
struct issue {
    const char *issuer;
    enum issue_without_room without_room;
    struct access_token_signer *signer;
    struct spool_writer *spool;
    struct issue_counters *counters;
    struct uuid_source uuids;
    struct issue_request *line;
    struct issue_request *recorded; /* in this pass */
    unsigned issued[TIER_MAX];      /* in this pass */
    bool issued_any;
    struct buffer text; /* reused across tokens */
};

void issue_open(struct issue *issue, const char *issuer, enum issue_without_room without_room,
                struct access_token_signer *signer, struct spool_writer *spool,
                struct issue_counters *counters);
void issue_close(struct issue *issue);

/* Why no token can be issued now, as a sentence for the client; NULL if one can. */
const char *issue_obstacle(struct issue *issue);

/* Appends a request to the line. */
void issue_join(struct issue *issue, struct issue_request *request);

/* Removes a request: no callback follows. A no-op when it is in no list. */
void issue_leave(struct issue_request *request);

/* Issues for its share of the turn (lag.h). True when requests are left for the next turn, which
 * then must not wait for events. */
bool issue_run(struct issue *issue);

/* Refuses every request in the line because the server is stopping. */
void issue_refuse_all(struct issue *issue);

/* Call before the pass's responses are sent. `recorded` says whether its rows were written: if not,
 * its tokens are refused after all, except with ISSUE_DROP. */
void issue_end_pass(struct issue *issue, bool recorded);

#endif
