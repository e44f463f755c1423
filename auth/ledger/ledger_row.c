#include "auth/ledger/ledger_row.h"

#include <string.h>

#include "auth/client/client.h"
#include "auth/client/scope.h"
#include "auth/quota/tier.h"
#include "common/time_text.h"

/* Without escapes: none of these values may hold a character that needs one. */
_Static_assert(UUID_TEXT_LENGTH + CLIENT_ID_MAX + TIER_NAME_MAX + SCOPE_MAX +
                       CLIENT_MAX_AUDIENCES * (CLIENT_AUDIENCE_MAX + 1) + KEY_KID_LENGTH +
                       2 * (TIME_TEXT_LENGTH + 3) + CLIENT_ID_MAX /* organization */ +
                       CLIENT_SECRET_ID_MAX + 10 /* columns */
                   <= SPOOL_ROW_MAX,
               "the largest row fits");

/* Escapes the characters that have a meaning in COPY's text format. */
static char *append_column(char *to, struct slice text)
{
    for (size_t i = 0; i != text.length; ++i) {
        switch (text.bytes[i]) {
        case '\\':
        case '\t':
        case '\n':
        case '\r':
            *to++ = '\\';
            break;
        default:
            break;
        }
        *to++ = text.bytes[i];
    }
    *to++ = '\t';
    return to;
}

/* Appends a time such as 2026-11-21 07:12:16.123+00. */
static char *append_time(char *to, int64_t unix_ms)
{
    time_text_write(unix_ms, ' ', to);
    to += TIME_TEXT_LENGTH;
    memcpy(to, "+00\t", 4);
    return to + 4;
}

void ledger_row_append(struct spool_writer *writer, const struct access_token_claims *claims,
                       const struct ledger_row *row)
{
    char *start = spool_reserve_row(writer), *to = start;

    uuid_format(&claims->jti, to);
    to += UUID_TEXT_LENGTH;
    *to++ = '\t';
    to = append_column(to, claims->client_id);
    to = append_column(to, row->tier);
    to = append_column(to, claims->scope);
    for (size_t i = 0; i != claims->audience_count; ++i) {
        to = append_column(to, claims->audiences[i]);
        if (i + 1 != claims->audience_count)
            to[-1] = ' ';
    }
    to = append_column(to, slice_of(row->kid));
    to = append_time(to, row->issued_at_ms);
    to = append_time(to, claims->expires_at * 1000);
    to = append_column(to, row->organization);
    to = append_column(to, row->credential);
    to[-1] = '\n';
    spool_append_row(writer, (size_t)(to - start));
}
