/* The line of requests that were granted a token: signed, recorded, told.
 *
 * The signature is what takes long, so each turn of the loop issues as many tokens as it has time
 * for: however many come at once, nothing else waits for all of them. A token is told as soon as
 * its row is in the pass; the caller must not let the answer leave before issue_end_pass, which
 * takes back what could not be recorded.
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
    struct counter dropped; /* issued without a record, for want of room */
    struct histogram sign_durations[KEY_ALG_COUNT];
};

/* A token, valid during the call that tells it. */
struct issue_token {
    struct slice text;
    struct uuid jti;
    int64_t
        ttl_s; /* may be less than was asked for: no token outlives the publication of its key */
};

/* Embedded in what asks. What is not said to be the line's is the caller's, and must live until it
 * has left the line and the pass is over. */
struct issue_request {
    struct issue_request *prev, *next; /* the line's */
    struct issue_request **list;       /* the line's: where it stands; NULL: nowhere */
    struct slice client_id;
    unsigned tier; /* its number, tier.h */
    struct slice tier_name;
    int64_t ttl_s;
    struct slice scope;
    const struct slice *audiences;
    size_t audience_count;
    /* Its token. */
    void (*on_token)(struct issue_request *, const struct issue_token *token);
    /* It gets none now, and why, as a sentence for the client; also after on_token, in the same
     * pass. */
    void (*on_refused)(struct issue_request *, const char *why);
};

/* Belongs to one thread. */
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
    struct buffer text; /* kept from token to token */
};

void issue_open(struct issue *issue, const char *issuer, enum issue_without_room without_room,
                struct access_token_signer *signer, struct spool_writer *spool,
                struct issue_counters *counters);
void issue_close(struct issue *issue);

/* Why no token can be issued now, as a sentence for the client; NULL: it can. */
const char *issue_obstacle(struct issue *issue);

/* Puts a request at the end of the line. */
void issue_join(struct issue *issue, struct issue_request *request);

/* It is told nothing any more; harmless where it stands nowhere. */
void issue_leave(struct issue_request *request);

/* Issues for about as long as the rest of the turn took; true when some are left for the next one,
 * which then must not wait. */
bool issue_run(struct issue *issue);

/* Refuses all that stand in the line: there is no time left. */
void issue_refuse_all(struct issue *issue);

/* Before the answers of the pass leave: its rows are written, or could not be, and then its tokens
 * are refused after all (or not, with ISSUE_DROP). */
void issue_end_pass(struct issue *issue, bool recorded);

#endif
