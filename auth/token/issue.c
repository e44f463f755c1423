#include "auth/token/issue.h"

#include <string.h>
#include <utlist.h>

#include "auth/ledger/ledger_row.h"
#include "common/clock.h"
#include "common/lag.h"

static const char no_key[] = "There is no active signing key; try again later.";
static const char no_room[] = "There is no room to record tokens; try again later.";

void issue_open(struct issue *issue, const char *issuer, enum issue_without_room without_room,
                struct access_token_signer *signer, struct spool_writer *spool,
                struct issue_counters *counters)
{
    *issue = (struct issue){.issuer = issuer,
                            .without_room = without_room,
                            .signer = signer,
                            .spool = spool,
                            .counters = counters};
}

void issue_close(struct issue *issue)
{
    buffer_dispose(&issue->text);
}

const char *issue_obstacle(struct issue *issue)
{
    if (!access_token_signer_is_set(issue->signer))
        return no_key;
    if (issue->without_room == ISSUE_REFUSE && !spool_has_room(issue->spool))
        return no_room;
    return NULL;
}

static void append(struct issue_request **list, struct issue_request *request)
{
    DL_APPEND(*list, request);
    request->list = list;
}

void issue_join(struct issue *issue, struct issue_request *request)
{
    append(&issue->line, request);
}

void issue_leave(struct issue_request *request)
{
    if (request->list != NULL)
        DL_DELETE(*request->list, request);
    request->list = NULL;
}

/* No token outlives the publication of its key. */
static int64_t possible_ttl_s(const struct issue *issue, int64_t ttl_s, int64_t now)
{
    int64_t retire_at = issue->signer->retire_at;

    return retire_at != 0 && now + ttl_s > retire_at ? retire_at - now : ttl_s;
}

static void record(struct issue *issue, struct issue_request *request,
                   const struct access_token_claims *claims, int64_t now_ms)
{
    ++issue->issued[request->tier];
    issue->issued_any = true;
    /* With ISSUE_REFUSE, issue_obstacle has found room already. */
    if (issue->without_room == ISSUE_REFUSE || spool_has_room(issue->spool)) {
        ledger_row_append(issue->spool, claims,
                          &(struct ledger_row){.tier = request->tier_name,
                                               .kid = issue->signer->kid,
                                               .issued_at_ms = now_ms,
                                               .organization = request->organization,
                                               .credential = request->credential});
        append(&issue->recorded, request);
    } else {
        counter_add(&issue->counters->dropped, 1);
    }
}

static void issue_one(struct issue *issue, struct issue_request *request)
{
    uint64_t started_us = clock_monotonic_us();
    int64_t now_ms = clock_unix_ms(), now = now_ms / 1000;
    struct issue_token token = {.ttl_s = possible_ttl_s(issue, request->ttl_s, now)};
    struct access_token_claims claims = {
        .issuer = slice_of(issue->issuer),
        .client_id = request->client_id,
        .audiences = request->audiences,
        .audience_count = request->audience_count,
        .scope = request->scope,
        .others = request->claims,
        .issued_at = now,
        .expires_at = now + token.ttl_s,
    };
    const char *obstacle = issue_obstacle(issue); /* may be new since the limiter was asked */

    if (obstacle != NULL || token.ttl_s <= 0) {
        request->on_refused(request, obstacle != NULL ? obstacle : no_key);
        return;
    }
    buffer_clear(&issue->text);
    if (!uuid_v7_make(&issue->uuids, now_ms, &claims.jti) ||
        !access_token_sign(issue->signer, &claims, &issue->text)) {
        request->on_refused(request, "No token can be signed at the moment; try again later.");
        return;
    }
    histogram_observe(&issue->counters->sign_durations[issue->signer->alg],
                      clock_monotonic_us() - started_us);
    record(issue, request, &claims, now_ms);
    token.text = (struct slice){issue->text.bytes, issue->text.size};
    token.jti = claims.jti;
    request->on_token(request, &token);
}

bool issue_run(struct issue *issue)
{
    uint64_t until_us;

    if (issue->line == NULL)
        return false;
    until_us = lag_work_until_us();
    do {
        struct issue_request *request = issue->line;

        issue_leave(request);
        issue_one(issue, request);
    } while (issue->line != NULL && clock_monotonic_us() < until_us);
    return issue->line != NULL;
}

static void refuse_all(struct issue_request **list, const char *why)
{
    while (*list != NULL) {
        struct issue_request *request = *list;

        issue_leave(request);
        request->on_refused(request, why);
    }
}

void issue_refuse_all(struct issue *issue)
{
    refuse_all(&issue->line, "The server is stopping; try again.");
}

void issue_end_pass(struct issue *issue, bool recorded)
{
    if (!issue->issued_any)
        return;
    if (!recorded && issue->without_room == ISSUE_DROP) {
        counter_add(&issue->counters->dropped, issue->spool->lost_rows);
    } else if (!recorded) {
        memset(issue->issued, 0, sizeof(issue->issued));
        refuse_all(&issue->recorded, "The token could not be recorded; try again later.");
    }
    while (issue->recorded != NULL)
        issue_leave(issue->recorded);
    for (size_t tier = 0; tier != TIER_MAX; ++tier) {
        if (issue->issued[tier] != 0)
            counter_add(&issue->counters->issued[tier], issue->issued[tier]);
        issue->issued[tier] = 0;
    }
    issue->issued_any = false;
}
