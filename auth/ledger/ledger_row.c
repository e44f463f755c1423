#include "auth/ledger/ledger_row.h"

#include <string.h>

#include "common/time_text.h"

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

/* Appends a time such as 2026-11-21 07:12:16.123+00, then `end`. */
static char *append_time(char *to, int64_t unix_ms, char end)
{
    time_text_write(unix_ms, ' ', to);
    to += TIME_TEXT_LENGTH;
    memcpy(to, "+00", 3);
    to[3] = end;
    return to + 4;
}

void ledger_row_append(struct spool_writer *writer, const struct access_token_claims *claims,
                       struct slice tier, const char *kid, int64_t issued_at_ms)
{
    char *row = spool_reserve_row(writer), *to = row;

    uuid_format(&claims->jti, to);
    to += UUID_TEXT_LENGTH;
    *to++ = '\t';
    to = append_column(to, claims->client_id);
    to = append_column(to, tier);
    to = append_column(to, claims->scope);
    for (size_t i = 0; i != claims->audience_count; ++i) {
        to = append_column(to, claims->audiences[i]);
        if (i + 1 != claims->audience_count)
            to[-1] = ' ';
    }
    to = append_column(to, slice_of(kid));
    to = append_time(to, issued_at_ms, '\t');
    to = append_time(to, claims->expires_at * 1000, '\n');
    spool_append_row(writer, (size_t)(to - row));
}
